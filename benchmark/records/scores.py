"""Scores: what a row keeps of each image under each rule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic import model_validator

from benchmark.engine.criterion import Outcome, Rule
from benchmark.files.schema import Strict
from benchmark.records.identity import Count, Share
from benchmark.records.rates import RULES, Outcomes, kept_margin


class Scored(Strict):
    """One image for each original under one rule: the figures that decide a choice, and its score."""

    rates: tuple[Share, ...]
    """Share of right outcomes on the draws that chose (`Criterion.choosing`)."""
    margins: tuple[float, ...]
    """Mean margin (true logit minus best other) on those draws, rounded
    (`benchmark.records.rates.kept_margin`)."""
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
        lengths = {len(self.under(rule).outcomes) for rule in Rule}
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
        found: Scored | None = getattr(self, RULES[rule].field)
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
        found = {rule: Scored.of([o for o in outcomes[rule] if o is not None]) for rule in Rule}
        single = found.pop(Rule.SINGLE)
        others = {RULES[rule].field: each for rule, each in found.items() if each != single}
        return cls(images=None if len(images) == n else images, single=single, **others)
