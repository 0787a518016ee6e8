"""Challenges as an entry keeps them: who lowered it by how much, and what an outside image is compared with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from benchmark.engine.criterion import Rule
from benchmark.files.schema import Strict
from benchmark.records.identity import Count, Share
from benchmark.records.rates import ROUNDING, RULES, Rates, refuse_other_mean
from benchmark.records.scores import Scored, Scores

CREDIT_LENGTH = 200
"""Characters of a name with its link."""


class Choice(Scored):
    """The image chosen for each original under one rule."""

    rows: tuple[str, ...] = ()
    """The attack that it is of, `challenge:k` for the k-th challenge's; empty in entries of schema 1."""


class Choices(Strict):
    """The choice for the worst case under each rule: what an image from outside is compared with."""

    single: Choice
    vote: Choice
    any_of: Choice

    def under(self, rule: Rule) -> Choice:
        """The choice under a rule."""
        found: Choice = getattr(self, RULES[rule].field)
        return found


class Challenge(Strict):
    """Adversarial images from outside that lowered an entry (`bench challenge`)."""

    credit: Annotated[str, Field(max_length=CREDIT_LENGTH)]
    """Whose they are, as they wish to be named; empty for nobody."""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """Of the `.npz` file that was handed in."""
    images: Annotated[int, Field(ge=1)]
    """How many images it held, one for each of so many originals."""
    chosen: Count
    """How many of them became the worst case of their original, under the single-draw rule."""
    lowered_by: Share
    """How far the worst case fell under the single-draw rule; 0 where only another rule's did."""
    worst_before: Rates
    worst_after: Rates
    scores: Scores | None = None
    """Of the images that it held; None in entries of schema 1."""


def challenge_id(k: int) -> str:
    """What `per_image.chosen` calls the images of the k-th challenge, from 1."""
    return f"challenge:{k}"


def refuse_other_choices(
    choices: Choices | None, worst: Rates | None, outcomes: Sequence[str]
) -> None:
    """Refuses choices of which the worst case, and its outcomes under the single-draw rule, do not consist.

    Raises:
        ValueError: They disagree.
    """
    if choices is None:
        return
    for rule in Rule:
        scored, name = choices.under(rule), f"per_image.choices.{RULES[rule].field}"
        if {len(scored.rates), len(scored.margins), len(scored.outcomes)} != {len(outcomes)}:
            raise ValueError(f"{name}: expected {len(outcomes)}, one an image")
        refuse_other_mean(name, worst.under(rule) if worst else None, scored.outcomes)
    if choices.single.outcomes != tuple(outcomes):
        raise ValueError("per_image.choices.single has other outcomes than per_image.worst")


def refuse_broken_chain(challenges: Sequence[Challenge], worst: Rates | None) -> None:
    """Refuses challenges that do not lead, one after the other, to the worst case as it stands.

    Raises:
        ValueError: One does not start where the last one ended, stands there twice, or states another fall.
    """
    starts = [challenge.worst_before for challenge in challenges]
    if challenges and [*starts[1:], worst] != [one.worst_after for one in challenges]:
        raise ValueError(
            "challenges: each must start where the last one ended, the last one end at the worst case"
        )
    if len({challenge.sha256 for challenge in challenges}) != len(challenges):
        raise ValueError("challenges: the same file stands there twice")
    for challenge in challenges:
        fall = challenge.worst_before.single.value - challenge.worst_after.single.value
        if abs(fall - challenge.lowered_by) > ROUNDING:
            raise ValueError(
                f"challenges: lowered_by {challenge.lowered_by} is not the fall {fall}"
            )
