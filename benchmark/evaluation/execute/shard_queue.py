"""Shards of the jobs of a run, and the queue that releases each when its sources are finished."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from graphlib import TopologicalSorter

from benchmark.records.job import Job
from benchmark.records.run import PlannedAttack

Place = tuple[str, int]
"""A shard among all of a run: its job's key, and the first of its positions."""


@dataclass(frozen=True, slots=True)
class Shard:
    """One shard of one job.

    Args:
        row: The job in its place in the protocol.
        start: First position in the order of images.
        stop: One past the last.
        needs: The jobs whose images of the same shard it takes.
        fingerprints: Digests of the fingerprints under which it is done: of its victim, and of theirs.
    """

    row: PlannedAttack
    start: int
    stop: int
    needs: tuple[Job, ...]
    fingerprints: tuple[str, ...] = field(default=(), compare=False)

    @property
    def job(self) -> Job:
        """The job."""
        return self.row.job

    @property
    def place(self) -> Place:
        """Its own place; no other shard of a run has it."""
        return self.row.job.key, self.start

    @property
    def sources(self) -> list[Place]:
        """The places of the shards whose images it takes."""
        return [(job.key, self.start) for job in self.needs]

    def __hash__(self) -> int:
        return hash(self.place)  # not of the whole job


def shards_of(rows: Sequence[PlannedAttack], n: int, shard_size: int) -> list[Shard]:
    """Every shard of every job, jobs that others need before those, at boundaries fixed by `shard_size`.

    A job that stands in several rows is done once, in the first of them.
    """
    first: dict[str, PlannedAttack] = {}
    for row in rows:
        first.setdefault(row.job.key, row)
    return [
        Shard(row, start, stop, needs)
        for row in sorted(first.values(), key=lambda row: bool(row.job.needs))
        for needs in [tuple(first[key].job for key in row.job.needs)]
        for start in range(0, row.images(n), shard_size)
        for stop in [min(start + shard_size, row.images(n))]
    ]


class ShardQueue:
    """Shards that are not begun, of which each may begin as soon as its sources are finished.

    Each step takes time in proportion to the shard's own sources and followers, however many shards there are.

    Args:
        shards: In the order in which they begin where nothing holds them up.
    """

    def __init__(self, shards: Iterable[Shard]) -> None:
        self._waiting = {shard.place: shard for shard in shards}
        self._order = TopologicalSorter[Place]()
        for place, shard in self._waiting.items():
            self._order.add(place, *(each for each in shard.sources if each in self._waiting))
        self._order.prepare()
        self._ready = deque(self._order.get_ready())

    def __len__(self) -> int:
        return len(self._waiting)

    def begin(self) -> Shard | None:
        """Takes out the next shard that may begin; None where all that are left wait for sources."""
        return self._waiting.pop(self._ready.popleft()) if self._ready else None

    def finish(self, shard: Shard) -> None:
        """Releases what waited for a shard that was begun."""
        self._order.done(shard.place)
        self._ready.extend(self._order.get_ready())

    def left(self) -> list[Shard]:
        """All that are not begun, in order."""
        return list(self._waiting.values())
