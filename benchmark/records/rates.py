"""Outcomes and what they cost, and rates: shares of right ones, with their intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Final

from pydantic import Field, model_validator

from benchmark.engine.criterion import Rule
from benchmark.files.schema import Strict
from benchmark.records.identity import Amount, Count, Share


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

    def under(self, rule: Rule) -> Rate:
        """What it is under a rule."""
        found: Rate = getattr(self, RULES[rule].field)
        return found


class ClassRate(Strict):
    """The accuracy of single draws on the images of one class, with that class's own interval."""

    label: Count
    n: Annotated[int, Field(ge=1)]
    """Images of it."""
    rate: Rate


class WorstClass(Strict):
    """The class that has the least accuracy, the first of several, among clean images and in the worst case."""

    clean: ClassRate
    worst: ClassRate


@dataclass(frozen=True, slots=True)
class RuleInfo:
    """How a rule is named.

    Args:
        field: In an entry, and in a criterion where it asks for a number of draws.
        said: On a board; `{}` stands for that number.
        symbol: Of the number.
    """

    field: str
    said: str
    symbol: str = ""


RULES: Final[Mapping[Rule, RuleInfo]] = {
    Rule.SINGLE: RuleInfo("single", "single draw"),
    Rule.VOTE: RuleInfo("vote", "vote of {}", "k"),
    Rule.ANY: RuleInfo("any_of", "any of {}", "n"),
}


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
    """This and the next differ between two runs of the same command (`without_timing`)."""
    peak_memory_bytes: Count | None = None
    """The most that tensors took at once on a GPU; None on the CPU."""


def share(bits: str) -> float:
    """The share of right outcomes of one image."""
    return bits.count("1") / len(bits)


def mean_rate(outcomes: Sequence[str]) -> float:
    """The mean over images of their shares of right outcomes; at least one image."""
    return math.fsum(map(share, outcomes)) / len(outcomes)


def kept_margin(margin: float) -> float:
    """A margin as an entry keeps it: finite, to `MARGIN_DECIMALS` digits."""
    return round(max(-MOST_MARGIN, min(margin, MOST_MARGIN)), MARGIN_DECIMALS) + 0.0  # no -0.0


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
