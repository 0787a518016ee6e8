"""An entry after a challenge: what images from outside change in it; pure, no torch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmark.criterion import Outcome, Rule, worst
from benchmark.publishing.challenges import Challenge, Choices, Scored, challenge_id
from benchmark.publishing.entry import Entry
from benchmark.publishing.flags import flags_of
from benchmark.publishing.measured import rate_of, scored
from benchmark.publishing.rates import Rates

FIELDS = {Rule.SINGLE: "single", Rule.VOTE: "vote", Rule.ANY: "any_of"}
"""What entries call the rules."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Handed:
    """Images from outside, judged.

    Args:
        credit: Whose they are.
        sha256: Of their file.
        images: How many it held.
        outcomes: For each original that has one, by its position in the entry, what the rules say of it.
    """

    credit: str
    sha256: str
    images: int
    outcomes: Mapping[int, Mapping[Rule, Outcome]]


def challenged(entry: Entry, handed: Handed) -> Entry | None:
    """The entry lowered by images from outside; None where they lower nothing.

    An image from outside is one candidate more for its original, beside the one that the entry chose: under
    each rule `criterion.worst` picks one of the two by what `select` draws say, and its outcomes on `score`
    draws count. A rule under which the worst case would not fall keeps all its choices.

    Args:
        entry: With a worst case, and with its choices where the victim is stochastic.
        handed: One outcome under each rule for each image.

    Raises:
        ValueError: It has none of these (a bug of ours: callers refuse such entries).
    """
    before = _kept(entry)
    after = {rule: _chosen(before[rule], handed, rule) for rule in Rule}
    if all(after[rule] == before[rule] for rule in Rule):
        return None
    return _rewritten(entry, after, handed)


def carried(old: Entry, new: Entry) -> Entry | None:
    """A new run's entry with the challenges of the one that it replaces; None where those do not hold for it.

    They hold where victim, images, budget, criterion and draws are the same: then what was said of the images
    from outside would be said again. A challenge that the new run has caught up with is left out. What the vote
    or any-of-n rule alone took from a challenge goes to the last one: whose it was is kept for single draws.

    Args:
        old: Challenged.
        new: Not challenged.
    """
    if _decisive(old) != _decisive(new) or new.worst is None:
        return None
    kept, entry = _kept(old), new
    theirs = {challenge_id(k) for k in range(1, len(old.challenges) + 1)}
    for k, challenge in enumerate(old.challenges, start=1):
        single = _kept(entry)[Rule.SINGLE]
        outcomes = {
            i: {rule: kept[rule][i] for rule in Rule}
            if name == challenge_id(k)
            else {rule: kept[rule][i] for rule in Rule} | {Rule.SINGLE: single[i]}
            for i, name in enumerate(old.per_image.chosen)
            if name == challenge_id(k) or (k == len(theirs) and name not in theirs)
        }
        handed = Handed(
            credit=challenge.credit,
            sha256=challenge.sha256,
            images=challenge.images,
            outcomes=outcomes,
        )
        entry = challenged(entry, handed) or entry
    return entry


def _decisive(entry: Entry) -> tuple[object, ...]:
    """All that decides what is said of an image from outside."""
    stages = [stage.model_dump(exclude={"training"}) for stage in entry.defense.stages]
    about = (entry.defense.label, stages, entry.classifier, entry.dataset, entry.threat)
    drawn = (entry.criterion, entry.seed, entry.precision, entry.per_image.clean)
    return (*about, *drawn, entry.per_image.indices, entry.per_image.choices is None)


def _kept(entry: Entry) -> dict[Rule, list[Outcome]]:
    """The entry's own choice for each image under each rule.

    A deterministic victim says on `select` draws what it says on `score` draws. Its margins are not kept:
    where two images are both wrong, or both right, the entry's own stays.
    """
    if entry.worst is None or (entry.defense.stochastic and entry.per_image.choices is None):
        raise ValueError("expected an entry with a worst case and its choices")
    if entry.per_image.choices is None:
        own = [Outcome(float(bits), -math.inf, bits) for bits in entry.per_image.worst]
        return dict.fromkeys(Rule, own)
    return {rule: _outcomes(getattr(entry.per_image.choices, FIELDS[rule])) for rule in Rule}


def _outcomes(scored: Scored) -> list[Outcome]:
    columns = (scored.rates, scored.margins, scored.outcomes)
    return [Outcome(*values) for values in zip(*columns, strict=True)]


def _chosen(own: Sequence[Outcome], handed: Handed, rule: Rule) -> list[Outcome]:
    """One outcome an image: its own or the challenger's; all its own where that would not lower their mean."""
    chosen = list(own)
    for i, found in handed.outcomes.items():
        chosen[i] = (own[i], found[rule])[worst((own[i], found[rule]))]
    return chosen if _mean(chosen) < _mean(own) else list(own)


def _mean(outcomes: Sequence[Outcome]) -> float:
    return math.fsum(outcome.accuracy for outcome in outcomes) / len(outcomes)


def _rewritten(entry: Entry, after: Mapping[Rule, Sequence[Outcome]], handed: Handed) -> Entry:
    """The entry with other choices, and the challenge that brought them."""
    if entry.worst is None:
        raise ValueError("expected an entry with a worst case")
    k = len(entry.challenges) + 1
    single = after[Rule.SINGLE]
    taken = {i for i, found in handed.outcomes.items() if single[i] is found[Rule.SINGLE]}
    rates = Rates(**{FIELDS[rule]: rate_of([o.bits for o in after[rule]]) for rule in Rule})
    challenge = Challenge(
        credit=handed.credit,
        sha256=handed.sha256,
        images=handed.images,
        chosen=len(taken),
        lowered_by=max(0.0, entry.worst.single.value - rates.single.value),
        worst_before=entry.worst,
        worst_after=rates,
    )
    images = entry.per_image
    own = [challenge_id(k) if i in taken else name for i, name in enumerate(images.chosen)]
    per_image = images.model_copy(
        update={
            "worst": tuple(outcome.bits for outcome in single),
            "chosen": tuple(own),
            "choices": images.choices
            and Choices(**{FIELDS[rule]: scored(after[rule]) for rule in Rule}),
        }
    )
    made = entry.model_copy(
        update={
            "worst": rates,
            "per_image": per_image,
            "challenges": (*entry.challenges, challenge),
        }
    )
    anew = {flag.id: flag for flag in flags_of(made)}
    flags = tuple(anew.get(flag.id, flag) for flag in made.flags)
    return Entry.model_validate(made.model_copy(update={"flags": flags}).model_dump())
