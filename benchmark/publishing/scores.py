"""Scores: what a row keeps of each image under each rule, and the choice of one image out of many rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pydantic import model_validator

from benchmark.criterion import Outcome, Rule, worst
from benchmark.publishing.identity import Count, Share
from benchmark.publishing.outcomes import Outcomes, kept_margin, mean_rate
from benchmark.publishing.rates import Rate, Rates
from benchmark.publishing.statistics import interval
from benchmark.strict import Strict

FIELDS: Final[Mapping[Rule, str]] = {
    Rule.SINGLE: "single",
    Rule.VOTE: "vote",
    Rule.ANY: "any_of",
}
"""Names of the rules in an entry."""


class Scored(Strict):
    """One image for each original under one rule: the figures that decide a choice, and its score."""

    rates: tuple[Share, ...]
    """Share of right outcomes on `select` draws."""
    margins: tuple[float, ...]
    """Mean margin (true logit minus best other) on `select` draws, rounded
    (`benchmark.publishing.outcomes.kept_margin`)."""
    outcomes: tuple[Outcomes, ...]
    """On `score` draws."""

    @model_validator(mode="after")
    def _is_one_for_each(self) -> Scored:
        if len({len(self.rates), len(self.margins), len(self.outcomes)}) != 1:
            raise ValueError("expected as many rates as margins and outcomes, one an image")
        return self

    @property
    def found(self) -> list[Outcome]:
        """The same, one value an image."""
        columns = (self.rates, self.margins, self.outcomes)
        return [Outcome(*values) for values in zip(*columns, strict=True)]

    @classmethod
    def of(cls, outcomes: Sequence[Outcome]) -> Scored:
        """One outcome an image, as an entry keeps it."""
        return cls(
            rates=tuple(outcome.rate for outcome in outcomes),
            margins=tuple(kept_margin(outcome.margin) for outcome in outcomes),
            outcomes=tuple(outcome.bits for outcome in outcomes),
        )


class Scores(Strict):
    """What became of a row's images under each rule."""

    images: tuple[Count, ...] | None = None
    """Positions of the images that it has, ascending; None for all of the entry's."""
    single: Scored
    vote: Scored | None = None
    """None where it is as under single draws for every image, as of a deterministic victim."""
    any_of: Scored | None = None
    """Likewise."""

    @model_validator(mode="after")
    def _is_of_one_length(self) -> Scores:
        found = [each for each in (self.single, self.vote, self.any_of) if each]
        lengths = {len(each.outcomes) for each in found}
        if self.images is not None:
            lengths.add(len(self.images))
            if sorted(set(self.images)) != list(self.images):
                raise ValueError("expected ascending positions of images, each once")
        if len(lengths) != 1 or lengths == {0}:
            raise ValueError(
                "expected one outcome an image under every rule, of at least one image"
            )
        return self

    def under(self, rule: Rule) -> Scored:
        """What it keeps under a rule."""
        found: Scored | None = getattr(self, FIELDS[rule])
        return found or self.single

    def is_of(self, n: int, *, is_whole: bool) -> bool:
        """Whether it is of n images; where not `is_whole`, of some of them."""
        if self.images is None:
            return len(self.single.outcomes) == n
        return not is_whole and self.images[-1] < n

    def outcomes(self, rule: Rule, n: int) -> list[Outcome | None]:
        """One outcome for each of an entry's first n images, None where there is none.

        Raises:
            ValueError: It has all images, and these are fewer.
        """
        found = self.under(rule).found
        if self.images is None:
            if len(found) < n:
                raise ValueError(f"expected scores of {n} images, got {len(found)}")
            return list(found[:n])
        placed = dict(zip(self.images, found, strict=True))
        return [placed.get(i) for i in range(n)]

    @classmethod
    def of(cls, outcomes: Mapping[Rule, Sequence[Outcome | None]]) -> Scores | None:
        """Outcomes of n images under each rule, as an entry keeps them; None where there is not one."""
        n = len(outcomes[Rule.SINGLE])
        images = tuple(i for i in range(n) if outcomes[Rule.SINGLE][i] is not None)
        if not images:
            return None
        single, vote, any_of = (
            Scored.of([outcome for outcome in outcomes[rule] if outcome is not None])
            for rule in (Rule.SINGLE, Rule.VOTE, Rule.ANY)
        )
        return cls(
            images=None if len(images) == n else images,
            single=single,
            vote=None if vote == single else vote,
            any_of=None if any_of == single else any_of,
        )


Candidates = Sequence[tuple[str, Scores | None]]
"""The rows that enter a choice, by their ids, clean ones first, so that a tie leaves an image as it is. A row
that is a gap enters with the images that it did finish: what broke an image broke it."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """For each image the one that is scored, and the row it came from; under one rule."""

    rows: tuple[str, ...]
    outcomes: tuple[Outcome, ...]

    @property
    def bits(self) -> tuple[str, ...]:
        """The outcomes on `score` draws, one string an image."""
        return tuple(outcome.bits for outcome in self.outcomes)


def choose(candidates: Candidates, rule: Rule, n: int) -> Chosen:
    """The one image to be scored for each of n originals, by `select` draws alone (`criterion.worst`).

    Raises:
        ValueError: Some image has no outcome in any of them.
    """
    columns = [(name, scores.outcomes(rule, n)) for name, scores in candidates if scores]
    names, chosen = [], []
    for i in range(n):
        present = [(name, found[i]) for name, found in columns if found[i] is not None]
        outcomes = [outcome for _, outcome in present if outcome is not None]
        if not outcomes:
            raise ValueError(f"image {i} has no outcome in any row")
        at = worst(outcomes)
        names.append(present[at][0])
        chosen.append(outcomes[at])
    return Chosen(tuple(names), tuple(chosen))


def choose_all(candidates: Candidates, n: int) -> dict[Rule, Chosen]:
    """The choice under each rule; made once where no row tells the rules apart."""
    single = choose(candidates, Rule.SINGLE, n)
    if all(scores is None or scores.vote is scores.any_of is None for _, scores in candidates):
        return dict.fromkeys(Rule, single)
    return {Rule.SINGLE: single} | {
        rule: choose(candidates, rule, n) for rule in (Rule.VOTE, Rule.ANY)
    }


def rates_of(outcomes: Mapping[Rule, Sequence[Outcome]]) -> Rates:
    """Under each rule, the accuracy on `score` draws."""
    single = rate_of([outcome.bits for outcome in outcomes[Rule.SINGLE]])
    others = [
        single
        if outcomes[rule] == outcomes[Rule.SINGLE]
        else rate_of([outcome.bits for outcome in outcomes[rule]])
        for rule in (Rule.VOTE, Rule.ANY)
    ]
    return Rates(single=single, vote=others[0], any_of=others[1])


def rates(candidates: Candidates, n: int) -> Rates:
    """Under each rule, the accuracy on the images chosen out of these rows."""
    return rates_of({rule: chosen.outcomes for rule, chosen in choose_all(candidates, n).items()})


def rate_of(bits: Sequence[str]) -> Rate:
    """The mean of one string of outcomes an image, with its interval."""
    shares = [outcome.count("1") / len(outcome) for outcome in bits]
    low, high = interval(shares, is_binary=all(len(outcome) == 1 for outcome in bits))
    value = mean_rate(bits)
    return Rate(value=value, low=min(low, value), high=max(high, value))
