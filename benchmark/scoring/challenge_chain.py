"""Challenges in their order: which image counts for each original, before and after each of them; pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmark.engine.criterion import Outcome, Rule, worst
from benchmark.records.challenge import Challenge, Choice, Choices, challenge_id
from benchmark.records.rates import RULES, Rates
from benchmark.records.scores import Scored, Scores
from benchmark.scoring.choice import Chosen, rates_of


@dataclass(frozen=True, slots=True)
class Standing:
    """The image that counts for each original under each rule.

    Args:
        outcomes: What became of it.
        rows: The attack or the challenge that it is of.
    """

    outcomes: Mapping[Rule, Sequence[Outcome]]
    rows: Mapping[Rule, tuple[str, ...]]

    @classmethod
    def of(cls, chosen: Mapping[Rule, Chosen], *, keeps_margins: bool) -> Standing:
        """The choice of an entry's own rows.

        Args:
            chosen: Under each rule.
            keeps_margins: Whether a margin may decide, as for a random victim. For a deterministic one where
                two images are both wrong, or both right, the entry's own stays.
        """
        outcomes: Mapping[Rule, Sequence[Outcome]] = {
            rule: found.outcomes if keeps_margins else settled(found.bits)
            for rule, found in chosen.items()
        }
        return cls(outcomes, {rule: found.rows for rule, found in chosen.items()})

    def bits(self, rule: Rule) -> tuple[str, ...]:
        """Outcomes on `score` draws under a rule, one string an image."""
        return tuple(outcome.bits for outcome in self.outcomes[rule])

    @property
    def rates(self) -> Rates:
        """The worst case."""
        return rates_of(self.outcomes)

    def choices(self) -> Choices:
        """The same as an entry keeps it."""
        return Choices(
            **{
                RULES[rule].field: Choice(**Scored.of(found).model_dump(), rows=self.rows[rule])
                for rule, found in self.outcomes.items()
            }
        )

    def after(self, challenge: Challenge, k: int) -> tuple[Standing, Challenge] | None:
        """What the k-th challenge leaves, and it with its figures; None where it lowers nothing.

        An image from outside is one candidate more for its original: under each rule `criterion.worst` picks
        one of the two by what `select` draws say, and its outcomes on `score` draws count. A rule under which
        the worst case would not fall keeps all its choices.
        """
        if challenge.scores is None:
            return None
        found = {rule: self._lowered(challenge.scores, rule, challenge_id(k)) for rule in Rule}
        if not any(found.values()):
            return None
        kept = {rule: found[rule] or (self.outcomes[rule], self.rows[rule]) for rule in Rule}
        later = Standing(
            {rule: outcomes for rule, (outcomes, _) in kept.items()},
            {rule: rows for rule, (_, rows) in kept.items()},
        )
        before, after = self.rates, later.rates
        figures = {
            "images": len(challenge.scores.single.outcomes),
            "chosen": later.rows[Rule.SINGLE].count(challenge_id(k)),
            "lowered_by": max(0.0, before.single.value - after.single.value),
            "worst_before": before,
            "worst_after": after,
        }
        return later, challenge.model_copy(update=figures)

    def _lowered(
        self, scores: Scores, rule: Rule, name: str
    ) -> tuple[Sequence[Outcome], tuple[str, ...]] | None:
        own, rows = self.outcomes[rule], list(self.rows[rule])
        chosen = list(own)
        for i, outcome in enumerate(scores.outcomes(rule, len(own))):
            if outcome is not None and worst((own[i], outcome)):
                chosen[i], rows[i] = outcome, name
        return (chosen, tuple(rows)) if _mean(chosen) < _mean(own) else None


def settled(bits: Sequence[str]) -> tuple[Outcome, ...]:
    """Outcomes of a deterministic victim, which no margin turns."""
    return tuple(Outcome(float(outcome), -math.inf, outcome) for outcome in bits)


def with_challenges_of(
    challenges: Sequence[Challenge], standing: Standing
) -> tuple[Standing, tuple[Challenge, ...]]:
    """What challenges leave in their order, and those that lower something, with their figures."""
    kept: list[Challenge] = []
    for challenge in challenges:
        made = standing.after(challenge, len(kept) + 1)
        if made is not None:
            standing, figured = made
            kept.append(figured)
    return standing, tuple(kept)


def _mean(outcomes: Sequence[Outcome]) -> float:
    return math.fsum(outcome.accuracy for outcome in outcomes) / len(outcomes)
