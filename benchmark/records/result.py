"""The record between running and publishing: what one job found on one shard of images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from typing import Any

from benchmark.engine.criterion import Outcome, Rule
from benchmark.errors import BenchError

SCHEMA = 2
"""Raised whenever a stored record changes its meaning or its fields."""

_OUTCOME = tuple(each.name for each in fields(Outcome))


class Status(StrEnum):
    """Whether a job came to its end on a shard."""

    OK = "ok"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardCost:
    """What an attack spent on a shard; the verdict's own passes are not counted.

    Args:
        forwards: Images passed forward through the victim (every EOT row counts).
        backwards: Images passed backward.
        seconds: Wall-clock seconds. This and the next are the only fields that differ between two runs of the
            same job.
        peak_bytes: The most memory that tensors took at once on a GPU, of this process; 0 on the CPU.
    """

    forwards: int = 0
    backwards: int = 0
    seconds: float = 0.0
    peak_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What one job found on the images `start` to `stop` of its dataset's order.

    Args:
        job: The job's key.
        start: First position in the order.
        stop: One past the last.
        status: Whether it came to its end.
        error: One line about a failure.
        outcomes: For each rule, one outcome an image; empty where it failed.
        cost: What it spent.
        trace: Share of images still classified rightly, step by step.
        warnings: What the attack itself complained about.
        zero_gradients: Share of gradients that were zero everywhere.
        context: At how many EOT draws each image was right, asked about as its attack asked; empty where the
            attack asked its victim nothing.
        pixels_sha256: Of the shard's clean images and labels.
        environment: Versions and hardware of the process that computed it, by name.
        fingerprints: Digests of those of its victim and of the victims of the jobs that it needs, in order.
    """

    job: str
    start: int
    stop: int
    status: Status
    error: str = ""
    outcomes: Mapping[Rule, tuple[Outcome, ...]] = field(default_factory=dict)
    cost: ShardCost = field(default_factory=ShardCost)
    trace: tuple[float, ...] = ()
    warnings: tuple[str, ...] = ()
    zero_gradients: float = 0.0
    context: tuple[int, ...] = ()
    pixels_sha256: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    fingerprints: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.stop <= self.start:
            raise ValueError(f"a shard has at least one image; got {self.start} to {self.stop}")
        if self.status is Status.FAILED:
            if self.outcomes or not self.error:
                raise ValueError("a failed result has an error and no outcomes")
            return
        if set(self.outcomes) != set(Rule):
            raise ValueError(
                f"a finished result has outcomes under every rule; got {list(self.outcomes)}"
            )
        for rule, outcomes in self.outcomes.items():
            if len(outcomes) != self.stop - self.start:
                raise ValueError(
                    f"{rule}: {len(outcomes)} outcomes for {self.stop - self.start} images"
                )

    def to_json(self) -> dict[str, Any]:
        """The record as plain JSON values, with its schema number."""
        record = {each.name: getattr(self, each.name) for each in fields(self)}
        record["cost"] = asdict(self.cost)
        record["outcomes"] = {  # not by asdict, which copies each value with care
            rule: [{name: getattr(outcome, name) for name in _OUTCOME} for outcome in outcomes]
            for rule, outcomes in self.outcomes.items()
        }
        return {"schema": SCHEMA, **record}

    @classmethod
    def from_json(cls, record: Mapping[str, Any], *, where: str) -> Result:
        """The record read back.

        Raises:
            BenchError: It is of another schema, or has fields missing or unknown; `where` names the file.
        """
        values = dict(record)
        schema = values.pop("schema", None)
        if schema != SCHEMA:
            raise BenchError(
                f"{where}: expected a record of schema {SCHEMA}, got {schema!r}; it was written by "
                f"another version of purifybench (move it away to have it made again)"
            )
        try:
            values["status"] = Status(values["status"])
            values["cost"] = ShardCost(**values["cost"])
            values["trace"] = tuple(values["trace"])
            values["warnings"] = tuple(values["warnings"])
            values["context"] = tuple(map(int, values.get("context", ())))
            values["fingerprints"] = tuple(map(_word, values["fingerprints"]))
            facts = values["environment"].items()
            values["environment"] = {_word(name): _word(text) for name, text in facts}
            values["outcomes"] = _outcomes(values["outcomes"])
            return cls(**values)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise BenchError(f"{where}: not a record of schema {SCHEMA}: {error}") from error


def _word(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected a string, got {value!r}")
    return value


def _outcomes(record: Mapping[str, Any]) -> dict[Rule, tuple[Outcome, ...]]:
    """Outcomes by rule; those of a victim without draws, the same under every rule, are made once."""
    found: dict[Rule, tuple[Outcome, ...]] = {}
    for rule, outcomes in record.items():
        same = next((made for known, made in found.items() if record[known] == outcomes), None)
        found[Rule(rule)] = same or tuple(Outcome(**outcome) for outcome in outcomes)
    return found
