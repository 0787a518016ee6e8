"""Comparisons: one entry against another, image by image, and what may be concluded from it; no torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import Any

from benchmark.errors import BenchError
from benchmark.identity.content_names import without_content
from benchmark.publishing.leaderboard.comparability import (
    missing_on_both,
    refuse_fewer_attacks,
    refuse_others,
    title,
)
from benchmark.publishing.leaderboard.paired import ONE_SIDED, chance, difference
from benchmark.records.entry import Entry, Gap
from benchmark.records.entry_parts import AttackRecord
from benchmark.records.protocol import Column
from benchmark.records.rates import MARGIN_DECIMALS

WORST, CLEAN = "worst case", "clean"
MARGIN_TOLERANCE = 1e-4
"""How far margins of two victims that behave the same may lie apart, in logits."""
MOST_IMAGES = 10**7
"""More than any test split has; an n above it decides nothing."""


class Conclusion(Enum):
    """What is said of a change, given a tolerance."""

    HELD = "held"
    """Nothing changed, or the lower bound lies above minus the tolerance: a larger fall is ruled out."""
    FELL = "fell"
    """The upper bound lies below minus the tolerance: a smaller fall is ruled out."""
    OPEN = "inconclusive"
    """Neither is ruled out."""


class Held(StrEnum):
    """Why a comparison is held."""

    SAME_JOBS = "same-jobs"
    """The keys of all jobs agree, and so does what came of them."""
    SAME_OUTCOMES = "same-outcomes"
    """Every row has the same outcomes and the same margins, image by image: the victims behave the same."""
    BOUND = "bound"
    """The lower bound of the change lies above minus the tolerance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """How an accuracy of the candidate differs from the base's on the same images, single draws.

    Args:
        name: `worst case`, `clean`, or the id of a row.
        base: Accuracy of the base, in [0, 1].
        candidate: Of the candidate.
        low: One-sided lower 95 % bound of the change, in [-1, 1]: what a fall is ruled out by.
        high: One-sided upper 95 % bound: what a fall is shown by. Together they are a 90 % interval.
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

    def verdict(self, tolerance: float) -> Conclusion:
        """What may be concluded where a fall by `tolerance` (a share, from 0 up) is tolerated."""
        if self.low > -tolerance:
            return Conclusion.HELD
        return Conclusion.FELL if self.high < -tolerance else Conclusion.OPEN

    def deciding_n(self, tolerance: float) -> int | None:
        """About how many images would decide, were the change what it seems; None where no number would.

        A bound nears the change with the square root of the number of images; where no image differs, with
        the number itself.
        """
        distance = self.value + tolerance
        half = self.value - self.low if distance > 0 else self.high - self.value
        if not self.lost and not self.gained and 0 < tolerance < 1 and half < 1:
            z2 = self.n * half / (1 - half)  # half is z^2 / (n + z^2)
            return max(self.n + 1, math.floor(z2 * (1 - tolerance) / tolerance) + 1)
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
        neither: Rows that are missing on both sides for the same listed reason.
        unchanged: Why nothing changed, where nothing did.
    """

    base: Entry
    candidate: Entry
    worst: Difference
    clean: Difference
    attacks: tuple[Difference, ...]
    missing: tuple[str, ...]
    added: tuple[str, ...]
    neither: tuple[Gap, ...]
    unchanged: Held | None

    def gate(self, name: str) -> Difference:
        """The change that a gate looks at: `worst` or `clean`."""
        return self.worst if name == "worst" else self.clean

    def verdict(self, tolerance: float, gates: Sequence[str]) -> Conclusion:
        """Of all gates: fell where one fell, else inconclusive where one is, else held."""
        if self.unchanged:
            return Conclusion.HELD
        found = [self.gate(name).verdict(tolerance) for name in gates]
        return next((v for v in (Conclusion.FELL, Conclusion.OPEN) if v in found), Conclusion.HELD)

    def held(self, tolerance: float, gates: Sequence[str]) -> Held | None:
        """Why it is held; None where it is not."""
        is_held = self.verdict(tolerance, gates) is Conclusion.HELD
        return (self.unchanged or Held.BOUND) if is_held else None


def compare(base: Entry, candidate: Entry) -> Comparison:
    """Compares two entries on the same images under the same protocol, threat and classifier.

    Raises:
        BenchError: They cannot be compared; one line says what differs, or which gap is in the way.
    """
    refuse_others(base, candidate)
    neither = missing_on_both(base, candidate)
    refuse_fewer_attacks(base, candidate)
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
        neither=neither,
        unchanged=_unchanged(base, candidate),
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
    alone = [f"only in base: {title(ours[row])}" for row in ours if row not in theirs]
    alone += [f"only in candidate: {title(theirs[row])}" for row in theirs if row not in ours]
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
            raise BenchError(f"the {name} holds {title(entry)} twice; name one entry")
        found[row] = entry
    return found


def _row(entry: Entry) -> tuple[Any, ...]:
    images = entry.dataset
    return (
        without_content(entry.defense.label),
        without_content(entry.classifier.name),
        (without_content(images.name), images.split, images.n, images.order, images.only_classes),
        entry.threat.text,
        entry.protocol.name,
    )


def _unchanged(base: Entry, candidate: Entry) -> Held | None:
    """Why nothing changed from one entry to the other; None where something did, or may have."""
    ours, theirs = base.attacks, candidate.attacks
    if [row.id for row in ours] != [row.id for row in theirs]:
        return None
    pairs = list(zip(ours, theirs, strict=True))
    if any(a.outcomes != b.outcomes for a, b in pairs) or _scores(base) != _scores(candidate):
        return None
    if all(a.job_key == b.job_key for a, b in pairs):
        return Held.SAME_JOBS
    return Held.SAME_OUTCOMES if all(_same_margins(a, b) for a, b in pairs) else None


def _scores(entry: Entry) -> tuple[tuple[str, ...], ...]:
    return entry.per_image.clean, entry.per_image.worst


def _same_margins(a: AttackRecord, b: AttackRecord) -> bool:
    """Whether two rows have margins for each image, and these agree."""
    has_all = len(a.margins) == len(a.outcomes) == len(b.margins) > 0
    return has_all and all(
        round(abs(x - y), MARGIN_DECIMALS) <= MARGIN_TOLERANCE
        for x, y in zip(a.margins, b.margins, strict=True)
    )


def _change(
    name: str, indices: Sequence[int], base: Sequence[str], other: Sequence[str]
) -> Difference:
    a = [bits.count("1") / len(bits) for bits in base]
    b = [bits.count("1") / len(bits) for bits in other]
    _, low, high = difference(a, b, ONE_SIDED)
    return Difference(
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
