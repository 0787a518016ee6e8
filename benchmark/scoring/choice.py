"""The choice of one image out of many rows, under each rule, and the rates of what was chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from benchmark.engine.criterion import Outcome, Rule, worst
from benchmark.records.rates import RULES, ClassRate, Rate, Rates, mean_rate, share
from benchmark.records.scores import Scores
from benchmark.scoring.statistics import interval

Candidates = Sequence[tuple[str, Scores | None]]
"""The rows that enter a choice, by their ids, clean ones first, so that a tie leaves an image as it is. A row
that is a gap enters with the images that it did finish: what broke an image broke it."""


class Chosen(NamedTuple):
    """For each image the one that is scored, and the row it came from; under one rule."""

    rows: tuple[str, ...]
    outcomes: tuple[Outcome, ...]

    @property
    def bits(self) -> tuple[str, ...]:
        """The outcomes on `score` draws, one string an image."""
        return tuple(outcome.bits for outcome in self.outcomes)


def choose(candidates: Candidates, rule: Rule, n: int) -> Chosen:
    """The one image to be scored for each of n originals, by the draws that choose alone (`criterion.worst`).

    Raises:
        ValueError: Some image has no outcome in any of them.
    """
    columns = [(name, scores.outcomes(rule, n)) for name, scores in candidates if scores]
    names, chosen = [], []
    for i in range(n):
        present = [(name, outcome) for name, found in columns if (outcome := found[i])]
        if not present:
            raise ValueError(f"image {i} has no outcome in any row")
        name, outcome = present[worst([outcome for _, outcome in present])]
        names.append(name)
        chosen.append(outcome)
    return Chosen(tuple(names), tuple(chosen))


def choose_all(candidates: Candidates, n: int) -> dict[Rule, Chosen]:
    """The choice under each rule; made once where no row tells the rules apart."""
    kept = [scores for _, scores in candidates if scores]
    if all(scores.under(rule) is scores.single for scores in kept for rule in Rule):
        return dict.fromkeys(Rule, choose(candidates, Rule.SINGLE, n))
    return {rule: choose(candidates, rule, n) for rule in Rule}


def rates_of(chosen: Mapping[Rule, Chosen]) -> Rates:
    """Under each rule, the accuracy on `score` draws."""
    once = {bits: rate_of(bits) for bits in {found.bits for found in chosen.values()}}
    return Rates(**{RULES[rule].field: once[found.bits] for rule, found in chosen.items()})


def rates(candidates: Candidates, n: int) -> Rates:
    """Under each rule, the accuracy on the images chosen out of these rows."""
    return rates_of(choose_all(candidates, n))


def worst_class(labels: Sequence[int], bits: Sequence[str]) -> ClassRate:
    """The class of which the least is right, the first of several, of at least one image.

    Its interval is that of its own images; that it is the least of many is not in it.
    """
    by_class: dict[int, list[str]] = {}
    for label, outcome in sorted(zip(labels, bits, strict=True)):
        by_class.setdefault(label, []).append(outcome)
    label, own = min(by_class.items(), key=lambda each: mean_rate(each[1]))
    return ClassRate(label=label, n=len(own), rate=rate_of(own))


def rate_of(bits: Sequence[str]) -> Rate:
    """The mean of one string of outcomes an image, with its interval."""
    shares, is_binary = list(map(share, bits)), all(len(outcome) == 1 for outcome in bits)
    low, high = interval(shares, is_binary=is_binary)
    value = mean_rate(bits)
    return Rate(value=value, low=min(low, value), high=max(high, value))
