"""An entry after a challenge: what images from outside change in it; pure, no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from benchmark.engine.criterion import Outcome, Rule
from benchmark.records.challenge import Challenge
from benchmark.records.entry import Entry
from benchmark.records.entry_protocol import protocol_of
from benchmark.records.scores import Scores
from benchmark.scoring.challenge_chain import Standing, settled
from benchmark.scoring.derived import derived, validated
from benchmark.scoring.flags import flags_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Handed:
    """Images from outside, judged.

    Args:
        credit: Whose they are.
        sha256: Of their file.
        outcomes: For each original that has one, by its position in the entry, what the rules say of it.
    """

    credit: str
    sha256: str
    outcomes: Mapping[int, Mapping[Rule, Outcome]]


def challenged(entry: Entry, handed: Handed) -> Entry | None:
    """The entry lowered by images from outside; None where they lower nothing.

    Args:
        entry: With a worst case, and with its choices where the victim is stochastic.
        handed: One outcome under each rule for each image.

    Raises:
        ValueError: It has none of these (a bug of ours: callers refuse such entries).
    """
    made = _standing(entry).after(_challenge(entry, handed), len(entry.challenges) + 1)
    if made is None:
        return None
    standing, challenge = made
    lowered = entry.model_copy(update={"challenges": (*entry.challenges, challenge)})
    if not entry.is_legacy:
        return validated(derived(lowered, protocol_of(entry)))
    per_image = {
        "worst": standing.bits(Rule.SINGLE),
        "chosen": standing.rows[Rule.SINGLE],
        "choices": standing.choices() if entry.per_image.choices else None,
    }
    lowered = lowered.model_copy(
        update={
            "worst": standing.rates,
            "per_image": entry.per_image.model_copy(update=per_image),
        }
    )
    anew = {flag.id: flag for flag in flags_of(lowered)}
    flags = tuple(anew.get(flag.id, flag) for flag in lowered.flags)
    return validated(lowered.model_copy(update={"flags": flags}))


def carried(old: Entry, new: Entry) -> Entry | None:
    """A new run's entry with the challenges of the one that it replaces; None where those do not hold for it.

    They hold where victim, images, budget, criterion and draws are the same: then what was said of the images
    from outside would be said again. A challenge that the new run has caught up with is left out.

    Args:
        old: Challenged; of schema 1, it keeps no image's scores, and nothing can be carried.
        new: Not challenged.
    """
    is_kept = all(challenge.scores for challenge in old.challenges)
    if not is_kept or _decisive(old) != _decisive(new) or new.worst is None:
        return None
    given = new.model_copy(update={"challenges": old.challenges})
    return validated(derived(given, protocol_of(new)))


def _decisive(entry: Entry) -> tuple[object, ...]:
    """All that decides what is said of an image from outside."""
    stages = [stage.model_dump(exclude={"training"}) for stage in entry.defense.stages]
    about = (entry.defense.label, stages, entry.classifier, entry.dataset, entry.threat)
    drawn = (entry.criterion, entry.seed, entry.precision, entry.per_image.clean)
    return (*about, *drawn, entry.per_image.indices)


def _standing(entry: Entry) -> Standing:
    """What counts in an entry now, under each rule."""
    choices, images = entry.per_image.choices, entry.per_image
    if entry.worst is None or (entry.defense.stochastic and choices is None):
        raise ValueError("expected an entry with a worst case and its choices")
    if choices is None:
        outcomes = dict.fromkeys(Rule, settled(images.worst))
        return Standing(outcomes, dict.fromkeys(Rule, images.chosen))
    rows = {rule: choices.under(rule).rows or images.chosen for rule in Rule}
    return Standing({rule: choices.under(rule).found for rule in Rule}, rows)


def _challenge(entry: Entry, handed: Handed) -> Challenge:
    """The challenge before anything has come of it."""
    if entry.worst is None:
        raise ValueError("expected an entry with a worst case and its choices")
    n = len(entry.per_image.indices)
    found = [handed.outcomes.get(i, {}) for i in range(n)]
    scores = Scores.of({rule: [each.get(rule) for each in found] for rule in Rule})
    return Challenge(
        credit=handed.credit,
        sha256=handed.sha256,
        images=len(handed.outcomes),
        chosen=0,
        lowered_by=0.0,
        worst_before=entry.worst,
        worst_after=entry.worst,
        scores=scores,
    )
