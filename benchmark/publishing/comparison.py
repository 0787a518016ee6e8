"""Comparisons: one entry against another, image by image, and what may be concluded from it; no torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from benchmark.errors import BenchError
from benchmark.protocol import Column
from benchmark.publishing.entry import Entry
from benchmark.publishing.paired import chance, difference

WORST, CLEAN = "worst case", "clean"
MOST_IMAGES = 10**7
"""More than any test split has; an n above it decides nothing."""


class Verdict(Enum):
    """What the interval of a change says about a tolerance."""

    HELD = "held"
    """All of it lies above minus the tolerance."""
    FELL = "fell"
    """All of it lies below."""
    OPEN = "inconclusive"
    """It lies on both sides."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """How an accuracy of the candidate differs from the base's on the same images, single draws.

    Args:
        name: `worst case`, `clean`, or the id of a row.
        base: Accuracy of the base, in [0, 1].
        candidate: Of the candidate.
        low: Lower end of the 95 % interval of the change, in [-1, 1].
        high: Upper end.
        p: Two-sided p-value that it is chance.
        lost: Indices of the images that the candidate is less often right on.
        gained: Of those that it is more often right on.
        n: Images.
    """

    name: str
    base: float
    candidate: float
    low: float
    high: float
    p: float
    lost: tuple[int, ...]
    gained: tuple[int, ...]
    n: int

    @property
    def value(self) -> float:
        """Candidate minus base."""
        return self.candidate - self.base

    def verdict(self, tolerance: float) -> Verdict:
        """What may be concluded where a fall by `tolerance` (a share, from 0 up) is put up with."""
        if self.low > -tolerance:
            return Verdict.HELD
        return Verdict.FELL if self.high < -tolerance else Verdict.OPEN

    def deciding_n(self, tolerance: float) -> int | None:
        """About how many images would decide, were the change what it seems; None where no number would.

        An interval narrows with the square root of the number of images.
        """
        distance = self.value + tolerance
        half = self.value - self.low if distance > 0 else self.high - self.value
        if abs(distance) < 1e-12 or half * half > MOST_IMAGES * distance * distance / self.n:
            return None
        return max(self.n + 1, math.floor(self.n * (half / distance) ** 2) + 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One entry against another.

    Args:
        base: What stood before.
        candidate: What is to be judged.
        worst: The change of the worst case.
        clean: That of clean accuracy.
        attacks: That of each attack which both were met by, in the protocol's order.
        missing: Ids of the base's attacks that the candidate was not met by.
        added: The other way round.
        is_same: Whether both are the outcome of the very same jobs, so that nothing can differ but by chance of
            hardware.
    """

    base: Entry
    candidate: Entry
    worst: Change
    clean: Change
    attacks: tuple[Change, ...]
    missing: tuple[str, ...]
    added: tuple[str, ...]
    is_same: bool

    def gate(self, name: str) -> Change:
        """The change that a gate looks at: `worst` or `clean`."""
        return self.worst if name == "worst" else self.clean

    def verdict(self, tolerance: float, gates: Sequence[str]) -> Verdict:
        """Of all gates: fell where one fell, else inconclusive where one is, else held."""
        if self.is_same:
            return Verdict.HELD
        found = [self.gate(name).verdict(tolerance) for name in gates]
        return next((v for v in (Verdict.FELL, Verdict.OPEN) if v in found), Verdict.HELD)


def compare(base: Entry, candidate: Entry) -> Comparison:
    """Compares two entries on the same images under the same protocol, threat and classifier.

    Raises:
        BenchError: They cannot be compared; one line says what differs, or which gap is in the way.
    """
    _refuse_others(base, candidate)
    for name, entry in (("base", base), ("candidate", candidate)):
        if entry.gaps or entry.worst is None:
            gap = f"{entry.gaps[0].row}: {entry.gaps[0].reason}" if entry.gaps else "no worst case"
            raise BenchError(
                f"the {name} ({_title(entry)}) has a gap, and what is missing is not withstood: {gap}; mend "
                f"it and run its command again"
            )
    theirs = {row.id: row for row in candidate.attacks}
    pairs = [
        (row, theirs[row.id])
        for row in base.attacks
        if row.id in theirs and row.column is not Column.CLEAN
    ]
    indices = base.per_image.indices
    return Comparison(
        base=base,
        candidate=candidate,
        worst=_change(WORST, indices, base.per_image.worst, candidate.per_image.worst),
        clean=_change(CLEAN, indices, base.per_image.clean, candidate.per_image.clean),
        attacks=tuple(_change(a.id, indices, a.outcomes, b.outcomes) for a, b in pairs),
        missing=tuple(row.id for row in base.attacks if row.id not in theirs),
        added=tuple(i for i in theirs if i not in {row.id for row in base.attacks}),
        is_same=_jobs(base) == _jobs(candidate) and base.per_image == candidate.per_image,
    )


def pair(
    base: Sequence[Entry], candidate: Sequence[Entry]
) -> tuple[list[tuple[Entry, Entry]], list[str]]:
    """Entries of two folders that are the same row of a leaderboard, and one line for each left alone.

    The same row: one defense by its published label, classifier by name, dataset, threat, protocol by name, and
    number of images. Whether they can be compared, `compare` says.

    Raises:
        BenchError: A folder holds one row twice, or no row is in both.
    """
    ours, theirs = _by_row("base", base), _by_row("candidate", candidate)
    alone = [f"only in base: {_title(ours[row])}" for row in ours if row not in theirs]
    alone += [f"only in candidate: {_title(theirs[row])}" for row in theirs if row not in ours]
    pairs = [(ours[row], theirs[row]) for row in ours if row in theirs]
    if not pairs:
        raise BenchError(
            f"no row is in both folders ({'; '.join(alone[:4])}); name two entries to compare different "
            f"defenses"
        )
    return pairs, alone


def _by_row(name: str, entries: Sequence[Entry]) -> dict[tuple[Any, ...], Entry]:
    found: dict[tuple[Any, ...], Entry] = {}
    for entry in entries:
        row = _row(entry)
        if row in found:
            raise BenchError(f"the {name} holds {_title(entry)} twice; name one entry")
        found[row] = entry
    return found


def _row(entry: Entry) -> tuple[Any, ...]:
    images = entry.dataset
    return (
        entry.defense.label,
        entry.classifier.name,
        (images.name, images.split, images.n, images.order, images.only_classes),
        entry.threat.text,
        entry.protocol.name,
    )


def _title(entry: Entry) -> str:
    return (
        f"{entry.defense.label} on {entry.classifier.name}, {entry.dataset.name}, {entry.threat.text}, "
        f"{entry.protocol.name}, {entry.dataset.n} images"
    )


def _jobs(entry: Entry) -> list[str]:
    return [row.job_key for row in entry.attacks]


def _refuse_others(base: Entry, candidate: Entry) -> None:
    """Refuses two entries that did not meet the same evaluation; most telling difference first."""
    protocols = [f"{e.protocol.name} version {e.protocol.version}" for e in (base, candidate)]
    for what, ours, theirs in (
        ("dataset", base.dataset.name, candidate.dataset.name),
        ("split", base.dataset.split, candidate.dataset.split),
        ("threat", base.threat.text, candidate.threat.text),
        ("image shape", base.threat.input_shape, candidate.threat.input_shape),
        ("protocol", *protocols),
        ("protocol content", base.protocol.sha256[:16], candidate.protocol.sha256[:16]),
        ("classifier", base.classifier.name, candidate.classifier.name),
        ("classifier weights", base.classifier.sha256[:16], candidate.classifier.sha256[:16]),
        ("order of images", base.dataset.order, candidate.dataset.order),
        ("number of images", base.dataset.n, candidate.dataset.n),
        ("set of images", base.per_image.indices, candidate.per_image.indices),
        ("labels", base.per_image.labels, candidate.per_image.labels),
        ("pixels", base.dataset.pixels_sha256[:16], candidate.dataset.pixels_sha256[:16]),
    ):
        if ours != theirs:
            said = "" if isinstance(ours, tuple) else f": {ours} and {theirs}"
            raise BenchError(
                f"base and candidate cannot be compared: they are of another {what}{said}; evaluate both with "
                f"the same options"
            )


def _change(name: str, indices: Sequence[int], base: Sequence[str], other: Sequence[str]) -> Change:
    a = [bits.count("1") / len(bits) for bits in base]
    b = [bits.count("1") / len(bits) for bits in other]
    _, low, high = difference(a, b)
    return Change(
        name=name,
        base=math.fsum(a) / len(a),
        candidate=math.fsum(b) / len(b),
        low=low,
        high=high,
        p=chance(a, b),
        lost=tuple(i for i, x, y in zip(indices, a, b, strict=True) if y < x),
        gained=tuple(i for i, x, y in zip(indices, a, b, strict=True) if y > x),
        n=len(a),
    )
