"""The verdict: one candidate an image chosen on `select` draws, then scored on `score` draws."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmark.criterion import Criterion, Outcome, Rule, worst
from benchmark.errors import ContractBroken
from benchmark.randomness import Draws
from benchmark.victim import GradientMode, Victim

ROWS = 512
"""Rows of the one batch layout in which verdicts are made, whatever the batch size of the attack."""


def judge(
    victim: Victim, candidates: Tensor, y: Tensor, *, draws: Draws, criterion: Criterion
) -> tuple[dict[Rule, tuple[Outcome, ...]], Tensor]:
    """Chooses and scores: the choice looks at `select` draws alone, the score at `score` draws alone.

    Args:
        victim: Who classifies.
        candidates: Images `(b, m, c, h, w)` in [0, 1], m for each of b originals.
        y: True labels `(b,)`.
        draws: Of the b originals, at the run's root: the draws are the same for all attacks.
        criterion: How many draws; a deterministic victim is asked once.

    Returns:
        For each rule b outcomes, and the images `(b, c, h, w)` chosen under the single-draw rule.

    Raises:
        ContractBroken: A logit is not finite.
    """
    asked = criterion.draws if victim.stochastic else 1
    labels = [int(label) for label in y]
    select = _predict(victim, candidates, y, draws.at("select"), asked)
    choices = {rule: _choose(rule, select, labels, criterion) for rule in Rule}
    picks = torch.tensor([[pick for pick, _ in choices[rule]] for rule in Rule], device=y.device)
    rows = torch.arange(len(y), device=y.device)
    chosen = [candidates[rows, picks[i]] for i in range(len(Rule))]
    outcomes: dict[Rule, tuple[Outcome, ...]] = {}
    scored: dict[tuple[int, ...], list[list[int]]] = {}
    for i, rule in enumerate(Rule):
        same = tuple(picks[i].tolist())
        if same not in scored:
            again = _predict(victim, chosen[i].unsqueeze(1), y, draws.at("score"), asked)
            scored[same] = [row[0] for row in again[0]]
        outcomes[rule] = tuple(
            Outcome(before.rate, before.margin, criterion.outcomes(rule, predictions, label))
            for (_, before), predictions, label in zip(
                choices[rule], scored[same], labels, strict=True
            )
        )
    return outcomes, chosen[list(Rule).index(Rule.SINGLE)]


def _choose(
    rule: Rule,
    select: tuple[list[list[list[int]]], list[list[float]]],
    labels: list[int],
    criterion: Criterion,
) -> list[tuple[int, Outcome]]:
    """For each image the position of its candidate, and what the `select` draws said of it."""
    found = []
    for predictions, margins, label in zip(*select, labels, strict=True):
        options = []
        for row, margin in zip(predictions, margins, strict=True):
            bits = criterion.outcomes(rule, row, label)
            options.append(Outcome(bits.count("1") / len(bits), margin, bits))
        pick = worst(options)
        found.append((pick, options[pick]))
    return found


def _predict(
    victim: Victim, candidates: Tensor, y: Tensor, draws: Draws, asked: int
) -> tuple[list[list[list[int]]], list[list[float]]]:
    """Predicted classes, `b x m x asked`, and mean margins, `b x m`."""
    b, m = candidates.shape[:2]
    x = candidates.flatten(0, 1)  # (b * m, c, h, w)
    originals = torch.arange(b, device=y.device).repeat_interleave(m * asked)
    repeated = draws.repeat(asked)  # (b * asked): every candidate of an image meets the same draws
    which = torch.arange(b * asked, device=y.device).view(b, 1, asked).expand(b, m, asked).flatten()
    labels, margins = [], []
    with torch.no_grad():
        for part in torch.split(torch.arange(b * m * asked, device=y.device), ROWS):
            logits = victim.logits(
                x[part // asked], draws=repeated.take(which[part]), mode=GradientMode.EXACT
            )
            if not bool(logits.isfinite().all()):
                raise ContractBroken(
                    "the victim returned a logit that is not finite; a purifier or a classifier "
                    "divides by zero or overflows"
                )
            labels.append(logits.argmax(1))
            margins.append(_margin(logits, y[originals[part]]))
    shape = (b, m, asked)
    mean = torch.cat(margins).double().view(shape).mean(2)
    return torch.cat(labels).view(shape).tolist(), mean.tolist()


def _margin(logits: Tensor, y: Tensor) -> Tensor:
    true = logits.gather(1, y[:, None]).squeeze(1)
    best = logits.scatter(1, y[:, None], -torch.inf).amax(1)
    return true - best
