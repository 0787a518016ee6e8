"""The verdict: one candidate an image chosen on `select` draws, then scored on `score` draws."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from benchmark.compute.memory import BatchLimit
from benchmark.engine.criterion import Criterion, Outcome, Rule, worst
from benchmark.engine.randomness import Draws
from benchmark.engine.victims.victim import GradientMode, Victim
from benchmark.errors import ContractBroken

ROWS = 512
"""Rows of the one batch layout in which verdicts are made, whatever the batch size of the attack; fewer
only where memory runs out."""


def judge(
    victim: Victim,
    candidates: Tensor,
    y: Tensor,
    *,
    draws: Draws,
    criterion: Criterion,
    room: BatchLimit | None = None,
) -> tuple[dict[Rule, tuple[Outcome, ...]], Tensor]:
    """Chooses and scores: the choice looks at `select` draws alone, the score at `score` draws alone.

    A deterministic victim is asked once, so that an image's score is no other than what it was chosen by.

    Args:
        victim: Who classifies.
        candidates: Images `(b, m, c, h, w)` in [0, 1], m for each of b originals.
        y: True labels `(b,)`.
        draws: Of the b originals, at the run's root: the draws are the same for all attacks.
        criterion: How many draws; a deterministic victim is asked once.
        room: For how many rows in one pass there was memory before; None for `ROWS`.

    Returns:
        For each rule b outcomes, and the chosen images `(b, r, c, h, w)`: one for each rule in the order of
        `Rule`, or r = 1 where all rules chose the same.

    Raises:
        ContractBroken: A logit is not finite.
    """
    ask = partial(answers, victim, y=y, criterion=criterion, room=room or BatchLimit(ROWS))
    labels = [int(label) for label in y]
    select = ask(candidates, draws=draws.at("select"))
    choices = {rule: _choose(rule, select, labels, criterion) for rule in Rule}
    picks = torch.tensor([[pick for pick, _ in choices[rule]] for rule in Rule], device=y.device)
    rows = torch.arange(len(y), device=y.device)
    chosen = [candidates[rows, picks[i]] for i in range(len(Rule))]
    outcomes: dict[Rule, tuple[Outcome, ...]] = {}
    scored: dict[tuple[int, ...], list[list[int]]] = {}
    for i, rule in enumerate(Rule):
        same = tuple(picks[i].tolist())
        if same not in scored:
            # asked once: what chose is what counts, whatever the layout of a second pass
            found = select.predictions[rows, picks[i]]
            if victim.stochastic:
                found = ask(chosen[i].unsqueeze(1), draws=draws.at("score")).predictions[:, 0]
            scored[same] = found.tolist()
        outcomes[rule] = tuple(
            Outcome(before.rate, before.margin, criterion.outcomes(rule, predictions, label))
            for (_, before), predictions, label in zip(
                choices[rule], scored[same], labels, strict=True
            )
        )
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
    """Positions `(k,)` of the images that no candidate beats at every `select` draw.

    The others have a rate of 0 under each rule, and no further candidate could lower it. The arguments are
    those of `judge`.

    Raises:
        ContractBroken: A logit is not finite.
    """
    select = draws.at("select")
    found = answers(victim, candidates, y, draws=select, criterion=criterion, room=room)
    is_right = found.predictions == y[:, None, None]  # (b, m, draws)
    return is_right.any(2).all(1).nonzero().flatten()


@dataclass(frozen=True, slots=True)
class Answers:
    """A victim's answers about m images of each of b originals, at a number of draws each.

    Args:
        predictions: Predicted classes, `(b, m, draws)` int64.
        margins: True logit minus best other, likewise, float64.
        rivals: The best class beside the true one, likewise, int64.
    """

    predictions: Tensor
    margins: Tensor
    rivals: Tensor


def answers(
    victim: Victim,
    candidates: Tensor,
    y: Tensor,
    *,
    draws: Draws,
    criterion: Criterion,
    room: BatchLimit | None = None,
) -> Answers:
    """What a victim says of candidates; the arguments are those of `judge`, `draws` at `select` or at `score`.

    Raises:
        ContractBroken: A logit is not finite.
    """
    asked = criterion.draws if victim.stochastic else 1
    repeated = draws.repeat(asked)  # (b * asked): all candidates of an image meet the same draws
    order = repeated.order()

    def one_pass(x: Tensor, part: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        rows = order[part]
        at = rows // asked
        with torch.no_grad():
            logits = victim.logits(x[at], draws=repeated.take(rows), mode=GradientMode.EXACT)
        if not bool(logits.isfinite().all()):
            raise ContractBroken(
                "the victim returned a logit that is not finite; a purifier or a classifier divides by "
                "zero or overflows"
            )
        label = y[at, None]
        best, rivals = logits.scatter(1, label, -torch.inf).max(1)
        return logits.argmax(1), logits.gather(1, label).squeeze(1) - best, rivals

    room = room or BatchLimit(ROWS)
    found = [
        passed
        for x in candidates.unbind(
            1
        )  # each by itself, as an attack asks about one iterate an image
        for _, passed in room.passes(len(order), partial(one_pass, x), y.device)
    ]
    back = order.argsort()
    predictions, margins, rivals = (
        torch.cat(each).view(-1, len(order))[:, back].view(-1, len(y), asked).transpose(0, 1)
        for each in zip(*found, strict=True)
    )
    return Answers(predictions, margins.double(), rivals)


def _choose(
    rule: Rule, select: Answers, labels: list[int], criterion: Criterion
) -> list[tuple[int, Outcome]]:
    """For each image the position of its candidate, and what the `select` draws said of it."""
    found = []
    means = select.margins.mean(2).tolist()
    for predictions, margins, label in zip(select.predictions.tolist(), means, labels, strict=True):
        options = []
        for row, margin in zip(predictions, margins, strict=True):
            bits = criterion.outcomes(rule, row, label)
            options.append(Outcome(bits.count("1") / len(bits), margin, bits))
        pick = worst(options)
        found.append((pick, options[pick]))
    return found
