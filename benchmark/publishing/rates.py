"""Rates: shares of right outcomes with their intervals, held against the outcomes that they are means of."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated

from pydantic import Field, model_validator

from benchmark.publishing.identity import Share
from benchmark.strict import Strict

ROUNDING = 1e-9
"""How far a published rate may lie from the mean of its own outcomes."""

Outcomes = Annotated[str, Field(pattern=r"^[01]+$")]
"""Of one image under one rule: a `1` (true label predicted) or `0` for each draw, or group of draws, scored."""


class Rate(Strict):
    """A share of right outcomes with its 95 % interval, all in [0, 1]."""

    value: Share
    low: Share
    high: Share

    @model_validator(mode="after")
    def _in_order(self) -> Rate:
        if not self.low <= self.value <= self.high:
            raise ValueError(f"{self.value} lies outside its interval {self.low} to {self.high}")
        return self


class Rates(Strict):
    """One quantity under each rule of `benchmark.criterion.Rule`, each with its own choice of images."""

    single: Rate
    vote: Rate
    any_of: Rate


def mean_rate(outcomes: Sequence[str]) -> float:
    """The mean over images of their shares of right outcomes; at least one image."""
    return math.fsum(bits.count("1") / len(bits) for bits in outcomes) / len(outcomes)


def refuse_other_mean(name: str, rate: Rate | None, outcomes: Sequence[str]) -> None:
    """Refuses a rate that is not the mean of its outcomes, and one of the two without the other.

    Raises:
        ValueError: So it is; `name` says of what.
    """
    if (rate is None) != (not outcomes):
        raise ValueError(f"{name}: rates and outcomes come together or not at all")
    if rate and abs(rate.value - mean_rate(outcomes)) > ROUNDING:
        raise ValueError(
            f"{name}: the rate {rate.value} is not the mean of its outcomes ({mean_rate(outcomes)})"
        )
