"""Beside what was measured: what papers claim of an entry, and RobustBench's own numbers of a classifier."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmark.errors import BenchError
from benchmark.publishing.leaderboard import baselines, claims
from benchmark.publishing.leaderboard.baselines import Baseline, baselines_of, read_baselines
from benchmark.publishing.leaderboard.claims import Claim, judge, read_claims
from benchmark.records.entry import Entry

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
    damaged = {}
    claimed: list[Claim] = []
    theirs: list[Baseline] = []
    path = leaderboards / claims.FILE
    try:
        claimed = read_claims(path) if path.is_file() else []
    except BenchError as error:
        damaged[path] = str(error)
    path = leaderboards / baselines.FILE
    try:
        theirs = read_baselines(path)
    except BenchError as error:
        damaged[path] = str(error)
    return Beside(tuple(claimed), tuple(theirs)), damaged
