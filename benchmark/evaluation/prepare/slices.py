"""Slices: the k-th of n parts of a run, cut by image at the boundaries of shards."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from benchmark.errors import BenchError


@dataclass(frozen=True, slots=True)
class Slice:
    """One of n parts of a run's images.

    All jobs of an image are in one slice, and so are the images that others of its jobs were made from: no
    slice waits for another. Parts are of equal length but for one shard.

    Args:
        k: Which part, from 1.
        n: How many parts there are.

    Raises:
        BenchError: There is no such part.
    """

    k: int
    n: int

    def __post_init__(self) -> None:
        if not 1 <= self.k <= self.n:
            raise BenchError(f"slice {self}: expected k/n with k from 1 to n, such as 2/8")

    @classmethod
    def parse(cls, text: str) -> Slice:
        """Reads `k/n`, such as `2/8`.

        Raises:
            BenchError: It is not of that form, or there is no such part.
        """
        found = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text)
        if not found:
            raise BenchError(f"slice {text!r}: expected k/n with k from 1 to n, such as 2/8")
        return cls(int(found[1]), int(found[2]))

    def own(self, starts: Iterable[int]) -> frozenset[int]:
        """Those shards' first positions that are this slice's: neighbours, none where there are too few."""
        places = sorted(set(starts))
        first, last = (len(places) * k // self.n for k in (self.k - 1, self.k))
        return frozenset(places[first:last])

    def siblings_of(self, starts: Iterable[int], wanted: Iterable[int]) -> list[Slice]:
        """The slices of the same cut, in order, to which some shards belong, by their first positions."""
        places = {start: place for place, start in enumerate(sorted(set(starts)))}
        found = {-(-(places[start] + 1) * self.n // len(places)) for start in wanted}
        return [Slice(k, self.n) for k in sorted(found)]

    def __str__(self) -> str:
        return f"{self.k}/{self.n}"
