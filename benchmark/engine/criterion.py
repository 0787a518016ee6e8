"""What counts as robust: how many draws are looked at, and how one candidate is chosen out of many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from benchmark.errors import BenchError

MORE_DRAWS = 4
"""How many times as many draws a finalist is shown as a candidate."""
MOST_FINALISTS = 10
"""Finalists of an image under one rule at the most: 30 under the three of them."""


class Role(StrEnum):
    """What draws are for; those of different roles have nothing in common."""

    SELECT = "select"
    """All candidates of an image meet them."""
    FINALS = "finals"
    """Finalists meet them, where there are any."""
    SCORE = "score"
    """The one chosen candidate meets them, and nothing is chosen by them."""


class Rule(StrEnum):
    """The three ways in which draws of one image become outcomes."""

    SINGLE = "single"
    """One draw, one prediction: the headline."""
    VOTE = "vote"
    """k draws and their most frequent class; a tie is a loss."""
    ANY = "any"
    """n draws, all of which must be right: what an attacker who may ask again can do."""


@dataclass(frozen=True, slots=True)
class Criterion:
    """How often a stochastic victim is asked; a deterministic one is asked once.

    Args:
        draws: Draws on which an image is scored, and as many others on which its candidate is selected.
        vote: k of the majority vote.
        any_of: n of any-of-n.
        finalists: How many candidates of an image are asked again under each rule, at `MORE_DRAWS` times as
            many draws of their own, before one is chosen; 0 to choose by `select` draws.
    """

    draws: int = 20
    vote: int = 5
    any_of: int = 5
    finalists: int = 0

    def __post_init__(self) -> None:
        for name, size in (("vote", self.vote), ("any_of", self.any_of)):
            if not 1 <= size <= self.draws:
                raise BenchError(
                    f"a criterion's {name} is between 1 and its draws ({self.draws}); got {size}"
                )
        if not 0 <= self.finalists <= MOST_FINALISTS:
            raise BenchError(
                f"a criterion's finalists are between 0 and {MOST_FINALISTS}; got {self.finalists}"
            )

    @property
    def choosing(self) -> Role:
        """Of the draws that the last choice is made by."""
        return Role.FINALS if self.finalists else Role.SELECT

    def asked(self, role: Role) -> int:
        """How many draws of a role a stochastic victim is asked at, for one image."""
        return self.draws * (MORE_DRAWS if role is Role.FINALS else 1)

    def group(self, rule: Rule) -> int:
        """How many draws make one outcome under a rule."""
        return {Rule.SINGLE: 1, Rule.VOTE: self.vote, Rule.ANY: self.any_of}[rule]

    def outcomes(self, rule: Rule, predictions: Sequence[int], label: int) -> str:
        """The outcomes of one image: one `1` (right) or `0` for each full group of its draws."""
        size = min(self.group(rule), len(predictions))
        groups = [predictions[i : i + size] for i in range(0, len(predictions) - size + 1, size)]
        return "".join("1" if self._is_right(rule, group, label) else "0" for group in groups)

    @staticmethod
    def _is_right(rule: Rule, group: Sequence[int], label: int) -> bool:
        if rule is not Rule.VOTE:
            return all(prediction == label for prediction in group)
        rivals = set(group) - {label}
        return all(group.count(label) > group.count(rival) for rival in rivals) and label in group


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one image under one rule: chosen on some draws, scored on others.

    Args:
        rate: Share of right outcomes of the chosen candidate on the draws of `Criterion.choosing`; only for
            choosing.
        margin: Its mean margin (true logit minus best other) on those draws; breaks ties.
        bits: Its outcomes on `score` draws, one `1` or `0` each.
    """

    rate: float
    margin: float
    bits: str

    def __post_init__(self) -> None:
        if not self.bits or set(self.bits) - {"0", "1"}:
            raise ValueError(f"outcomes are a row of 0 and 1, at least one; got {self.bits!r}")

    @property
    def accuracy(self) -> float:
        """Share of right outcomes on `score` draws."""
        return self.bits.count("1") / len(self.bits)


def worst(outcomes: Sequence[Outcome]) -> int:
    """Position of the one candidate to be scored: the least right on draws that choose, then the least margin.

    It never looks at `score` draws: a minimum over many noisy scores would be biased downwards.
    """
    return worst_first(outcomes)[0]


def worst_first(outcomes: Sequence[Outcome]) -> list[int]:
    """All positions in that order; of equal ones the first comes first."""
    return sorted(range(len(outcomes)), key=lambda i: (outcomes[i].rate, outcomes[i].margin))
