"""The verdict: one candidate an image chosen on `select` or `finals` draws, then scored on `score` draws."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from benchmark.compute.memory import BatchLimit
from benchmark.engine.criterion import Criterion, Outcome, Role, Rule, worst, worst_first
from benchmark.engine.randomness import Draws
from benchmark.engine.victims.victim import GradientMode, Victim
from benchmark.errors import ContractBroken

ROWS = 512
"""Rows of the one batch layout in which verdicts are made, whatever the batch size of the attack; fewer
only where memory runs out."""

Choices = dict[Rule, list[tuple[int, Outcome]]]
"""Under each rule, for each image, the position of its candidate and what the draws that choose said of it."""


def judge(
    victim: Victim,
    candidates: Tensor,
    y: Tensor,
    *,
    draws: Draws,
    criterion: Criterion,
    room: BatchLimit | None = None,
) -> tuple[dict[Rule, tuple[Outcome, ...]], Tensor]:
    """Chooses and scores: the score looks at `score` draws alone, and the choice at none of them.

    All candidates of an image are asked at its `select` draws. Where the criterion has finalists, the worst so
    many under each rule are asked again at `finals` draws, and these alone choose among all of them: the least
    of many noisy rates is low by luck, that of a few asked again much less so. An image with no more
    candidates than that goes to the finals at once, so that what is chosen from different attacks has met the
    same draws and can be compared. A copy of a candidate is none of its own.

    A deterministic victim is asked once, so that an image's score is no other than what it was chosen by.

    Args:
        victim: Who classifies.
        candidates: Images `(b, m, c, h, w)` in [0, 1], m for each of b originals.
        y: True labels `(b,)`.
        draws: Of the b originals, at the run's root: the draws are the same for all attacks.
        criterion: How many draws, and finalists; a deterministic victim is asked once.
        room: For how many rows in one pass there was memory before; None for `ROWS`.

    Returns:
        For each rule b outcomes, and the chosen images `(b, r, c, h, w)`: one for each rule in the order of
        `Rule`, or r = 1 where all rules chose the same.

    Raises:
        ContractBroken: A logit is not finite.
    """
    ask = partial(answers, victim, criterion=criterion, room=room or BatchLimit(ROWS))
    choices = _choices(ask, candidates, y, draws, criterion, is_random=victim.stochastic)
    picks = torch.tensor([[pick for pick, _ in choices[rule]] for rule in Rule], device=y.device)
    chosen = [candidates[torch.arange(len(y), device=y.device), pick] for pick in picks]
    outcomes: dict[Rule, tuple[Outcome, ...]] = {}
    scored: dict[tuple[int, ...], list[list[int]]] = {}
    for i, rule in enumerate(Rule):
        same, found = tuple(picks[i].tolist()), [outcome for _, outcome in choices[rule]]
        if same not in scored:
            # asked once: what chose is what counts, whatever the layout of a second pass
            scored[same] = []
            if victim.stochastic:
                said = ask(chosen[i], y, draws=draws, role=Role.SCORE)
                scored[same] = said.predictions.tolist()
        if victim.stochastic:
            found = [
                replace(before, bits=criterion.outcomes(rule, predictions, label))
                for before, predictions, label in zip(found, scored[same], y.tolist(), strict=True)
            ]
        outcomes[rule] = tuple(found)
    return outcomes, torch.stack(chosen[:1] if len(scored) == 1 else chosen, dim=1)


def survivors(
    victim: Victim,
    candidates: Tensor,
    y: Tensor,
    *,
    draws: Draws,
    criterion: Criterion,
    room: BatchLimit | None = None,
) -> Tensor:
    """Positions `(k,)` of the images whose choice is right at some draw that it was chosen by.

    The others have a rate of 0 under each rule, and no further candidate could lower it. The arguments are
    those of `judge`.

    Raises:
        ContractBroken: A logit is not finite.
    """
    ask = partial(answers, victim, criterion=criterion, room=room or BatchLimit(ROWS))
    choices = _choices(ask, candidates, y, draws, criterion, is_random=victim.stochastic)
    left = [i for i, (_, outcome) in enumerate(choices[Rule.SINGLE]) if outcome.rate > 0]
    return torch.tensor(left, dtype=torch.int64, device=y.device)


@dataclass(frozen=True, slots=True)
class Answers:
    """A victim's answers about k images, at a number of draws each.

    Args:
        predictions: Predicted classes, `(k, draws)` int64.
        margins: True logit minus best other, likewise, float64.
        rivals: The best class beside the true one, likewise, int64.
    """

    predictions: Tensor
    margins: Tensor
    rivals: Tensor


def answers(
    victim: Victim,
    x: Tensor,
    y: Tensor,
    *,
    draws: Draws,
    role: Role,
    criterion: Criterion,
    room: BatchLimit | None = None,
) -> Answers:
    """A victim's answers about images `(k, c, h, w)` with labels `(k,)`, at draws of a role.

    Args:
        victim: Who classifies; a deterministic one is asked once.
        x: The images.
        y: Their labels.
        draws: Of their k originals, at the run's root: all images of an original meet the same draws.
        role: What the draws are for.
        criterion: How many there are.
        room: For how many rows in one pass there was memory before; None for `ROWS`.

    Raises:
        ContractBroken: A logit is not finite.
    """
    asked = criterion.asked(role) if victim.stochastic else 1
    repeated = draws.at(role.value).repeat(asked)  # (k * asked)
    turns = _turns(draws, asked)

    def one_pass(turn: Tensor, part: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        rows = turn[part]
        of = rows // asked
        with torch.no_grad():
            logits = victim.logits(x[of], draws=repeated.take(rows), mode=GradientMode.EXACT)
        if not bool(logits.isfinite().all()):
            raise ContractBroken(
                "the victim returned a logit that is not finite; a purifier or a classifier divides by "
                "zero or overflows"
            )
        label = y[of, None]
        best, rivals = logits.scatter(1, label, -torch.inf).max(1)
        return logits.argmax(1), logits.gather(1, label).squeeze(1) - best, rivals

    room = room or BatchLimit(ROWS)
    found = [
        passed
        for turn in turns
        for _, passed in room.passes(len(turn), partial(one_pass, turn), y.device)
    ]
    back = torch.cat(turns).argsort()
    predictions, margins, rivals = (
        torch.cat(each)[back].view(len(x), asked) for each in zip(*found, strict=True)
    )
    return Answers(predictions, margins.double(), rivals)


def _turns(draws: Draws, asked: int) -> list[Tensor]:
    """Positions among `(k * asked,)` rows as a victim is asked: one image of each original, then another.

    So an attack asks about its iterates, one an image, and at each draw in turn (`Draws.order`).
    """
    images, position = draws.images.sort(stable=True)
    counts = torch.unique_consecutive(images, return_counts=True)[1]
    first = (counts.cumsum(0) - counts).repeat_interleave(counts)
    turn = torch.empty_like(position)
    turn[position] = torch.arange(len(images), device=images.device) - first
    repeated = torch.arange(asked, device=images.device)
    return [
        ((turn == i).nonzero().flatten() * asked + repeated[:, None]).flatten()
        for i in range(int(counts.max()))
    ]


def _choices(
    ask: Callable[..., Answers],
    candidates: Tensor,
    y: Tensor,
    draws: Draws,
    criterion: Criterion,
    *,
    is_random: bool,
) -> Choices:
    """The choice under each rule; `ask` is `answers` of the victim at hand."""
    options = partial(_options, ask, candidates, y, draws, criterion)
    if is_random and criterion.finalists:
        entered = _distinct(candidates)  # (b, m)
        many = entered & (entered.sum(1, keepdim=True) > criterion.finalists)
        if bool(many.any()):
            entered &= ~many
            for images in options(many, Role.SELECT).values():
                for i, found in enumerate(images):
                    order = worst_first(list(found.values()))[: criterion.finalists]
                    entered[i, [list(found)[at] for at in order]] = True
        last = options(entered, Role.FINALS)
    else:
        last = options(torch.ones(candidates.shape[:2], dtype=torch.bool), Role.SELECT)
    return {
        rule: [list(found.items())[worst(list(found.values()))] for found in images]
        for rule, images in last.items()
    }


def _options(
    ask: Callable[..., Answers],
    candidates: Tensor,
    y: Tensor,
    draws: Draws,
    criterion: Criterion,
    entered: Tensor,
    role: Role,
) -> dict[Rule, list[dict[int, Outcome]]]:
    """Under each rule, for each image, what draws say of those of its candidates that entered, by position."""
    places = entered.nonzero()  # (k, 2)
    of = places[:, 0].to(y.device)
    x = candidates.flatten(0, 1) if len(places) == entered.numel() else candidates[entered]
    said = ask(x, y[of], draws=draws.take(of), role=role)
    means = said.margins.mean(1).tolist()
    found: dict[Rule, list[dict[int, Outcome]]] = {rule: [{} for _ in y] for rule in Rule}
    rows = zip(places.tolist(), said.predictions.tolist(), y[of].tolist(), means, strict=True)
    for (i, j), predictions, label, margin in rows:
        for rule in Rule:
            bits = criterion.outcomes(rule, predictions, label)
            found[rule][i][j] = Outcome(bits.count("1") / len(bits), margin, bits)
    return found


def _distinct(candidates: Tensor) -> Tensor:
    """Mask `(b, m)`, on the CPU, of the candidates that are no copies of an earlier one of their image."""
    found = torch.ones(candidates.shape[:2], dtype=torch.bool)
    for i, images in enumerate(candidates):
        seen: set[bytes] = set()
        for j, image in enumerate(images.cpu()):
            content = image.numpy().tobytes()
            found[i, j] = content not in seen
            seen.add(content)
    return found
