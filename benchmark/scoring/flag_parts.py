"""Parts of flags: a measured figure, a difference in points, and how fine a difference images can tell."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal, NamedTuple

from benchmark.records.entry import Entry
from benchmark.records.entry_parts import AttackRecord, Flag

WEAKER_POINTS = 2.0
"""How far an attacker who knows less may be ahead. Both meet the same images, so what is left is the noise of
single draws and, on 50 images, one image (2 points)."""


class Measured(NamedTuple):
    """A figure beside its threshold."""

    value: float
    threshold: float
    detail: str
    is_raised: bool


Finding = Measured | str
"""What a rule says of an entry: a figure, or why there is none."""


def raised_above(value: float, threshold: float, detail: str) -> Measured:
    """A figure that raises its flag where it exceeds its threshold (by more than rounding)."""
    return Measured(value, threshold, detail, value > threshold + 1e-9)


def flag_of(name: str, found: Finding) -> Flag:
    """The flag of a finding."""
    if isinstance(found, str):
        return Flag(id=name, value=None, threshold=None, verdict="not-run", detail=found)
    value, threshold, detail, is_raised = found
    verdict: Literal["raised", "ok"] = "raised" if is_raised else "ok"
    return Flag(id=name, value=value, threshold=threshold, verdict=verdict, detail=detail)


def points(higher: float, lower: float) -> float:
    """How far one share lies above another, in percentage points."""
    return round(100 * (higher - lower), 9)


def percent(share: float) -> str:
    """A share as text."""
    return f"{100 * share:.1f} %"


def lowest(rows: Iterable[AttackRecord]) -> tuple[float, str] | None:
    """The least accuracy of single draws that a row left, and its id; None where none has one."""
    return min(((row.rates.single.value, row.id) for row in rows if row.rates), default=None)


def resolution(entry: Entry, images: int) -> float:
    """The least change of an accuracy that is a change, in points, on so many images.

    One image; of a random victim, too, two standard errors of the difference of two rates, each the mean over
    the images of as many draws as the criterion has, at the most (a draw's variance is at most 1/4). Never
    less than `WEAKER_POINTS`.
    """
    least = max(WEAKER_POINTS, 100 / images)
    if not entry.defense.stochastic:
        return least
    return max(least, 100 * math.sqrt(2 / (images * entry.criterion.draws)))
