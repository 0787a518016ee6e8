"""What flags are made of: a verdict, a difference in points, and how fine a difference images can tell."""

from __future__ import annotations

import math
from typing import Literal

from benchmark.records.entry import Entry
from benchmark.records.entry_parts import Flag

WEAKER_POINTS = 2.0
"""How far an attacker who knows less may be ahead. Both meet the same images, so what is left is the noise of
single draws and, on 50 images, one image (2 points)."""


def raised_above(name: str, value: float, threshold: float, detail: str) -> Flag:
    """A verdict: raised where the value exceeds its threshold (by more than rounding)."""
    verdict: Literal["raised", "ok"] = "raised" if value > threshold + 1e-9 else "ok"
    return Flag(id=name, value=value, threshold=threshold, verdict=verdict, detail=detail)


def not_run(name: str, why: str) -> Flag:
    """A flag that could not be measured, and why."""
    return Flag(id=name, value=None, threshold=None, verdict="not-run", detail=why)


def points(higher: float, lower: float) -> float:
    """How far one share lies above another, in percentage points."""
    return round(100 * (higher - lower), 9)


def percent(share: float) -> str:
    """A share as text."""
    return f"{100 * share:.1f} %"


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
