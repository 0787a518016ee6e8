"""Expenses: what the rows of a run cost at the most, in passes, disk and hours; no torch from here on."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from benchmark.records.missing_rows import Missing

if TYPE_CHECKING:
    from benchmark.engine.attacking.attack import Passes


@dataclass(frozen=True, slots=True, kw_only=True)
class RowExpense:
    """What one row of a protocol costs at the most.

    Args:
        id: The row's id.
        column: Its family; `source` where its images are made for other rows.
        attack: The attack's name.
        gradient: The gradient mode.
        eot: Draws over which a gradient is averaged.
        images: How many there are.
        done: How many of them are finished and kept already.
        passes: Of the attack, for one image; None where its class does not say.
        verdict: Passes forward for one image that choose its candidate, score it, and ask about it once more as
            the attack asked; None likewise.
        disk: Bytes for one image, the record included.
        seconds: For one image, verdict included; None where the passes are not known.
    """

    id: str
    column: str
    attack: str
    gradient: str
    eot: int
    images: int
    done: int
    passes: Passes | None
    verdict: int | None
    disk: float
    seconds: float | None

    @property
    def left(self) -> int:
        """Images still to be attacked."""
        return self.images - self.done

    @property
    def hours(self) -> float | None:
        """Of one worker, for what is left."""
        return None if self.seconds is None else self.seconds * self.left / 3600

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values, with the totals for what is left."""
        totals: dict[str, Any] = {"left": self.left, "hours_left": self.hours}
        totals["disk_left"] = round(self.disk * self.left)
        if self.passes is not None and self.verdict is not None:
            totals["forwards_left"] = self.passes.forwards * self.left
            totals["backwards_left"] = self.passes.backwards * self.left
            totals["verdict_left"] = self.verdict * self.left
        return {**asdict(self), **totals}


@dataclass(frozen=True, slots=True, kw_only=True)
class Expense:
    """What a run costs at the most.

    Args:
        title: Defense, classifier, dataset, threat and protocol.
        is_stochastic: Whether the victim is random: then no image leaves early, and passes are exact.
        rows: Every job once.
        skipped: Rows that cannot be planned, each with its reason: gaps, or not applicable.
        shard_size: Images in one shard.
        workers: Processes.
        hardware: What was timed.
    """

    title: Mapping[str, str]
    is_stochastic: bool
    rows: tuple[RowExpense, ...]
    skipped: Mapping[str, Missing]
    shard_size: int
    workers: int
    hardware: str

    @property
    def unknown(self) -> tuple[str, ...]:
        """Rows whose attacks do not say what they cost."""
        return tuple(row.id for row in self.rows if row.passes is None)

    @property
    def hours(self) -> float:
        """Of one worker, for what is left of the rows that are known."""
        return sum(row.hours or 0.0 for row in self.rows)

    @property
    def wall_hours(self) -> float:
        """Until the last worker is done, for the same: each takes the next shard as soon as it is free."""
        free = [0.0] * self.workers
        for row in self.rows:
            for start in range(0, row.left, self.shard_size):
                part = min(self.shard_size, row.left - start)
                heapq.heapreplace(free, free[0] + (row.seconds or 0.0) * part / 3600)
        return max(free)

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        rows = [row.to_json() for row in self.rows]
        passes = ("forwards_left", "backwards_left", "verdict_left")
        return {
            **self.title,
            "is_stochastic": self.is_stochastic,
            "rows": rows,
            "skipped": {name: asdict(missing) for name, missing in self.skipped.items()},
            "unknown": list(self.unknown),
            "shard_size": self.shard_size,
            "workers": self.workers,
            "hardware": self.hardware,
            **{name: sum(row.get(name, 0) for row in rows) for name in passes},
            "disk_left": round(sum(row.disk * row.left for row in self.rows)),
            "hours_left": self.hours,
            "wall_hours_left": self.wall_hours,
        }
