"""Challenges: images from outside, judged as the harness judges its own, and the entry that they leave."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import torch
from torch import Tensor

from benchmark.challenge.submission import Outside, read_outside
from benchmark.compute.sandbox import sandboxed
from benchmark.engine.attacking.attack import refuse_outside
from benchmark.engine.criterion import Criterion, Outcome, Rule
from benchmark.engine.judging.verdict import judge
from benchmark.engine.randomness import Draws
from benchmark.errors import BenchError
from benchmark.evaluation.prepare.prepare import Prepared
from benchmark.evaluation.prepare.reproduce import Where, originals, remake
from benchmark.publishing.leaderboard.escaping import plain
from benchmark.records.challenge import CREDIT_LENGTH
from benchmark.records.entry import Entry
from benchmark.scoring.apply_challenge import challenged

PART = 64
"""Images judged at once."""
STRANGE = 4.0
"""Standard errors by which images may do better on the draws that count than on draws that nobody knew: by
chance 1 file in 30,000 does (Cochran's test of paired shares over strata, normal approximation)."""

ROUNDED = 0.01
"""Share of predictions on clean images that another machine's rounding may turn."""

Judged = dict[int, Mapping[Rule, Outcome]]
"""For each original that has one, by its position in an entry, what the rules say of the image from outside."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChallengeOutcome:
    """What a challenge came to.

    Args:
        before: The entry as it was.
        after: As it is now; the same where nothing was lowered.
        sha256: Of the file from outside.
        images: How many images it held.
        reason: Why nothing changed, one line; empty where something did.
    """

    before: Entry
    after: Entry
    sha256: str
    images: int
    reason: str = ""

    @property
    def is_lowered(self) -> bool:
        """Whether the entry has fallen."""
        return not self.reason


def challenge(
    entry: Entry, path: Path, *, credit: str = "", where: Where | None = None
) -> ChallengeOutcome:
    """Verifies adversarial images from outside and lowers an entry by them.

    Args:
        entry: As it was read.
        path: An `.npz` file as `benchmark.challenge.submission.read_outside` reads it.
        credit: Whose the images are; one line.
        where: Where files are and what computes; None for the usual places.

    Raises:
        BenchError: The file is of another form, an image is outside the budget or its original no image of the
            entry, the victim cannot be made again here, or the images were made for the very draws on which
            they are judged.
    """
    credit = plain(credit)
    if len(credit) > CREDIT_LENGTH:
        raise BenchError(f"a credit has at most {CREDIT_LENGTH} characters; got {len(credit)}")
    refuse_unready(entry)
    handed = read_outside(path, entry)
    known = [one.sha256 for one in entry.challenges]
    after, reason = None, "no image does more harm than what it counts already"
    if handed.sha256 in known:
        reason = f"this very file is challenge {known.index(handed.sha256) + 1} of it"
    else:
        outcomes = judged(remake(entry, where), entry, handed)
        after = challenged(entry, outcomes, credit=credit, sha256=handed.sha256)
    return ChallengeOutcome(
        before=entry,
        after=after or entry,
        sha256=handed.sha256,
        images=len(handed.positions),
        reason="" if after else reason,
    )


def refuse_unready(entry: Entry) -> None:
    """Refuses an entry to which nothing from outside can be compared.

    Raises:
        BenchError: It has no worst case, or does not keep what its choices were made by.
    """
    if entry.worst is None:
        raise BenchError(
            "this entry has no worst case to be lowered: its clean row is a gap; run its command again"
        )
    if entry.defense.stochastic and entry.per_image.choices is None:
        raise BenchError(
            "this entry is from before the choices of a stochastic victim were kept, and nothing fair can "
            f"be compared with it; make it again first (finished shards are reused): {entry.command}"
        )


def judged(ready: Prepared, entry: Entry, handed: Outside) -> Judged:
    """What the harness says of images from outside: chosen-for and scored on the entry's own draws.

    They are held to the budget as an attack's are (`benchmark.engine.attacking.attack`): rounding is
    projected, an excess is refused. The clean images are judged beside them, and must get what the entry says
    of them.

    Args:
        ready: The entry's victim, as `remake` gives it.
        entry: Where the images' originals and the criterion stand.
        handed: The images.

    Raises:
        BenchError: An image is outside the budget, the clean ones are not classified as the entry says, or
            these images do well on the draws that count and on no others.
    """
    inside = _inside(ready, handed)
    found: Judged = {}
    clean: Judged = {}
    control: Judged = {}
    for part in _parts(len(inside)):
        positions = handed.positions[part]
        found |= _judged(ready, entry, positions, inside[part])
        clean |= _judged(ready, entry, positions)
        if ready.is_stochastic:
            place = ("challenge", handed.sha256)
            control |= _judged(ready, entry, positions, inside[part], *place)
    _refuse_other_clean(entry, clean)
    if control:
        refuse_made_for_draws(found, control)
    return found


def _inside(ready: Prepared, handed: Outside) -> Tensor:
    """The images in the victim's precision, rounding projected into the budget."""
    parts = []
    for part in _parts(len(handed.positions)):
        x, _, _ = originals(ready, handed.positions[part])
        x_adv = handed.x_adv[part].to(x)
        refuse_outside("challenge", x, x_adv, ready.task.threat)
        parts.append(ready.task.threat.project(x, x_adv))
    return torch.cat(parts)


def _parts(n: int) -> list[slice]:
    return [slice(i, i + PART) for i in range(0, n, PART)]


def _judged(
    ready: Prepared, entry: Entry, positions: Tensor, x_adv: Tensor | None = None, *place: str
) -> Judged:
    """What becomes of images `(b, c, h, w)`, None for the clean ones, of positions `(b,)` in the entry.

    Their draws lie at a place among the draws.
    """
    x, y, indices = (each.to(ready.device) for each in originals(ready, positions))
    x = x if x_adv is None else x_adv.to(ready.device)
    root = Draws.of(ready.request.seed, indices, ready.dataset.name, "test")
    criterion = Criterion(**entry.criterion.model_dump())
    with sandboxed(f"defense {ready.label!r}"):
        outcomes, _ = judge(
            ready.victim, x.unsqueeze(1), y, draws=root.at(*place), criterion=criterion
        )
    return {
        position: {rule: outcomes[rule][i] for rule in Rule}
        for i, position in enumerate(positions.tolist())
    }


def _refuse_other_clean(entry: Entry, clean: Judged) -> None:
    """Refuses a victim that says of clean images what the entry does not."""
    pairs = [
        (before, after)
        for i, rules in clean.items()
        for before, after in zip_longest(entry.per_image.clean[i], rules[Rule.SINGLE].bits)
    ]
    other = sum(before != after for before, after in pairs)
    if other > ROUNDED * len(pairs):
        raise BenchError(
            f"this entry cannot be made again here: of {len(pairs)} predictions on its clean images {other} "
            f"come out otherwise than it says; make it anew by its command, and challenge that"
        )


def refuse_made_for_draws(found: Judged, control: Judged) -> None:
    """Refuses images that fool the victim on the draws that count, and not on draws of the file's own hash.

    All draws of a run are known beforehand; those hang on the file itself, so that no image can be made for
    them. Per image the two shares of right outcomes come from the same coin, unless the image was made for one
    of them; over images their difference is compared with its standard error.
    """
    difference = variance = 0.0
    for i, rules in found.items():
        s, fresh = rules[Rule.SINGLE], control[i][Rule.SINGLE]
        p = (s.accuracy + fresh.accuracy) / 2
        difference += fresh.accuracy - s.accuracy
        variance += 2 * p * (1 - p) / len(s.bits)
    if difference > STRANGE * math.sqrt(variance) + 1e-12:
        raise BenchError(
            f"these images were made for the very draws on which they are judged: on those "
            f"{_mean(found):.1%} are right, on draws that nobody could know {_mean(control):.1%}; make them "
            f"with fresh draws"
        )


def _mean(judged: Judged) -> float:
    return math.fsum(rules[Rule.SINGLE].accuracy for rules in judged.values()) / len(judged)
