"""An entry after a challenge: what images from outside change in it; pure, no torch."""

from __future__ import annotations

from collections.abc import Mapping

from benchmark.engine.criterion import Outcome, Rule
from benchmark.records.challenge import Challenge
from benchmark.records.entry import Entry
from benchmark.records.scores import Scores
from benchmark.scoring.challenge_chain import Standing, after, choices_of, settled
from benchmark.scoring.choice import Chosen, rates_of
from benchmark.scoring.derived import derived, protocol_of, validated
from benchmark.scoring.flags import flags_of


def challenged(
    entry: Entry, outcomes: Mapping[int, Mapping[Rule, Outcome]], *, credit: str, sha256: str
) -> Entry | None:
    """The entry lowered by images from outside; None where they lower nothing.

    Args:
        entry: With a worst case, and with its choices where the victim is stochastic.
        outcomes: For each original that has one, by its position in the entry, what the rules say of it.
        credit: Whose they are.
        sha256: Of their file.

    Raises:
        ValueError: It has none of these (a bug of ours: callers refuse such entries).
    """
    if entry.worst is None:
        raise ValueError("expected an entry with a worst case and its choices")
    found = [outcomes.get(i, {}) for i in range(len(entry.per_image.indices))]
    handed = Challenge(
        credit=credit,
        sha256=sha256,
        images=len(outcomes),
        chosen=0,
        lowered_by=0.0,
        worst_before=entry.worst,
        worst_after=entry.worst,
        scores=Scores.of({rule: [each.get(rule) for each in found] for rule in Rule}),
    )
    made = after(_standing(entry), handed, len(entry.challenges) + 1)
    if made is None:
        return None
    standing, challenge = made
    lowered = entry.model_copy(update={"challenges": (*entry.challenges, challenge)})
    if entry.is_legacy:
        return validated(_legacy(lowered, standing))
    return validated(derived(lowered, protocol_of(entry)))


def _legacy(entry: Entry, standing: Standing) -> Entry:
    """An entry of schema 1 with what a challenge left; nothing else of it can be made anew."""
    per_image = {
        "worst": standing[Rule.SINGLE].bits,
        "chosen": standing[Rule.SINGLE].rows,
        "choices": choices_of(standing) if entry.per_image.choices else None,
    }
    made = entry.per_image.model_copy(update=per_image)
    lowered = entry.model_copy(update={"worst": rates_of(standing), "per_image": made})
    anew = {flag.id: flag for flag in flags_of(lowered)}
    flags = tuple(anew.get(flag.id, flag) for flag in lowered.flags)
    return lowered.model_copy(update={"flags": flags})


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
    if entry.defense.stochastic and choices is None:
        raise ValueError("expected an entry with a worst case and its choices")
    if choices is None:
        return dict.fromkeys(Rule, settled(images.chosen, images.worst))
    found = {rule: choices.under(rule) for rule in Rule}
    return {
        rule: Chosen(own.rows or images.chosen, tuple(own.found)) for rule, own in found.items()
    }
