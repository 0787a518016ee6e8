"""Beside what was measured: what papers claim of an entry, and RobustBench's own numbers of a classifier."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from benchmark.errors import BenchError
from benchmark.publishing.leaderboard import baselines, claims
from benchmark.publishing.leaderboard.baselines import Baseline, baselines_of
from benchmark.publishing.leaderboard.claims import Claim, judge
from benchmark.publishing.leaderboard.data_file import read_lines
from benchmark.records.entry import Entry

T = TypeVar("T")
IMAGES = {"imagenet": 5_000}
"""On how many test images RobustBench measures; 10,000 on any other dataset."""


@dataclass(frozen=True, slots=True)
class Beside:
    """Numbers of others.

    Args:
        claims: Of papers.
        baselines: RobustBench's.
    """

    claims: tuple[Claim, ...] = ()
    baselines: tuple[Baseline, ...] = ()

    def claimed(self, entries: Sequence[Entry]) -> dict[int, list[Claim]]:
        """The claims that an entry stands beside, by the entry's `id`; those of another set-up are left out."""
        found: dict[int, list[Claim]] = defaultdict(list)
        for judged in judge(self.claims, entries):
            if judged.entry is not None:
                found[id(judged.entry)].append(judged.claim)
        return found

    def references(self, entries: Sequence[Entry]) -> Iterator[tuple[Baseline, int]]:
        """RobustBench's rows for the classifiers of a board, each with its number of images."""
        for each in baselines_of(entries, self.baselines):
            yield each, IMAGES.get(each.dataset, 10_000)


def read_beside(leaderboards: Path) -> tuple[Beside, dict[Path, str]]:
    """What stands in a leaderboards folder; of each of its two files that cannot be read, why."""
    damaged: dict[Path, str] = {}

    def read(name: str, kind: type[T]) -> tuple[T, ...]:
        path = leaderboards / name
        try:
            return tuple(read_lines(path, kind, may_lack=True))
        except BenchError as error:
            damaged[path] = str(error)
            return ()

    return Beside(read(claims.FILE, Claim), read(baselines.FILE, Baseline)), damaged
