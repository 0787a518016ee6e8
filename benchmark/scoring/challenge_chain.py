"""Challenges in their order: which image counts for each original, before and after each of them; pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from benchmark.engine.criterion import Outcome, Rule, worst
from benchmark.records.challenge import Challenge, Choice, Choices, challenge_id
from benchmark.records.rates import RULES, mean_rate
from benchmark.records.scores import Scored
from benchmark.scoring.choice import Chosen, rates_of

Standing = Mapping[Rule, Chosen]
"""The image that counts for each original under each rule, and the attack or the challenge that it is of."""


def settled(rows: tuple[str, ...], bits: Sequence[str]) -> Chosen:
    """Images of a deterministic victim, which no margin turns."""
    return Chosen(rows, tuple(Outcome(float(outcome), -math.inf, outcome) for outcome in bits))


def choices_of(standing: Standing) -> Choices:
    """The same as an entry keeps it."""
    return Choices(
        **{
            RULES[rule].field: Choice(**Scored.of(found.outcomes).model_dump(), rows=found.rows)
            for rule, found in standing.items()
        }
    )


def after(standing: Standing, challenge: Challenge, k: int) -> tuple[Standing, Challenge] | None:
    """What the k-th challenge leaves, and it with its figures; None where it lowers nothing.

    An image from outside is one candidate more for its original: under each rule `criterion.worst` picks one of
    the two by what the draws that choose say, and its outcomes on `score` draws count. A rule under which the
    worst case would not fall keeps all its choices.
    """
    if challenge.scores is None:
        return None
    name, later = challenge_id(k), dict(standing)
    for rule, own in standing.items():
        rows, outcomes = list(own.rows), list(own.outcomes)
        for i, outcome in enumerate(challenge.scores.outcomes(rule, len(rows))):
            if outcome is not None and worst((outcomes[i], outcome)):
                rows[i], outcomes[i] = name, outcome
        lowered = Chosen(tuple(rows), tuple(outcomes))
        if mean_rate(lowered.bits) < mean_rate(own.bits):
            later[rule] = lowered
    if later == standing:
        return None
    worst_before, worst_after = rates_of(standing), rates_of(later)
    figures = {
        "images": len(challenge.scores.single.outcomes),
        "chosen": later[Rule.SINGLE].rows.count(name),
        "lowered_by": max(0.0, worst_before.single.value - worst_after.single.value),
        "worst_before": worst_before,
        "worst_after": worst_after,
    }
    return later, challenge.model_copy(update=figures)


def with_challenges_of(
    challenges: Sequence[Challenge], standing: Standing
) -> tuple[Standing, tuple[Challenge, ...]]:
    """What challenges leave in their order, and those that lower something, with their figures."""
    kept: list[Challenge] = []
    for challenge in challenges:
        made = after(standing, challenge, len(kept) + 1)
        if made is not None:
            standing, figured = made
            kept.append(figured)
    return standing, tuple(kept)
