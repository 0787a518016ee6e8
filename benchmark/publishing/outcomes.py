"""Outcomes and what they cost: what every record of an entry is made of."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from benchmark.publishing.identity import Amount, Count
from benchmark.strict import Strict

ROUNDING = 1e-9
"""How far a published rate may lie from the mean of its own outcomes."""

OTHER_MACHINE = 1e-6
"""How far numbers of an entry of schema 1 may lie apart that were computed on another machine."""

MARGIN_DECIMALS = 5
"""Digits of a margin that an entry keeps: enough to tell a change of behaviour from rounding."""
MOST_MARGIN = 1e9
"""Beyond it no margin means more; an overflow is no JSON number."""

Outcomes = Annotated[str, Field(pattern=r"^[01]+$")]
"""Of one image under the single-draw rule: `1` (true label predicted) or `0`, one for each `score` draw."""


class Cost(Strict):
    """What was spent for each image; the verdict's own passes are not counted."""

    forwards_per_image: Amount
    backwards_per_image: Amount
    seconds_per_image: Amount
    """This and the next are the only fields in which two runs of the same command differ (`without_timing`)."""
    peak_memory_bytes: Count | None = None
    """The most that tensors took at once on a GPU; None on the CPU."""


def mean_rate(outcomes: Sequence[str]) -> float:
    """The mean over images of their shares of right outcomes; at least one image."""
    return math.fsum(bits.count("1") / len(bits) for bits in outcomes) / len(outcomes)


def kept_margin(margin: float) -> float:
    """A margin as an entry keeps it: finite, to `MARGIN_DECIMALS` digits."""
    return round(max(-MOST_MARGIN, min(margin, MOST_MARGIN)), MARGIN_DECIMALS) + 0.0  # no -0.0
