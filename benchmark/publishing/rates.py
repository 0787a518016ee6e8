"""Rates: shares of right outcomes with their intervals, held against the outcomes that they are means of."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import model_validator

from benchmark.publishing.identity import Share
from benchmark.publishing.outcomes import ROUNDING, mean_rate
from benchmark.strict import Strict


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
