"""Slopes of answers alone: how well each gradient tells what steps as an attack makes them do to a victim."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmark.compute.memory import BatchLimit
from benchmark.compute.sandbox import fresh_global_state
from benchmark.engine.attacking.losses import margin
from benchmark.engine.randomness import Draws
from benchmark.engine.threat import Threat
from benchmark.engine.victims.victim import GradientMode, Victim

DIRECTIONS = 16
"""Random directions in which each image is moved, both ways; by chance alone the mean cosine of 8 images then
lies within .09 of 0 (one standard deviation)."""
ROWS = 256
"""Images of one pass."""
STEP = 0.25
"""Length of a step, as a share of the budget."""


def gradient_of(victim: Victim, x: Tensor, y: Tensor, draws: Draws, mode: GradientMode) -> Tensor:
    """Of the margins of classes `(b,)`, `(b, c, h, w)`; zeros where nothing leads back."""
    with fresh_global_state("slope"), torch.enable_grad():
        leaf = x.detach().requires_grad_()
        total = margin(victim.logits(leaf, draws=draws, mode=mode), y).sum()
        found = (
            torch.autograd.grad(total, leaf, allow_unused=True)[0] if total.requires_grad else None
        )
    return torch.zeros_like(x) if found is None else found


def moves_of(
    victim: Victim, x: Tensor, y: Tensor, draws: Draws, threat: Threat
) -> tuple[Tensor, Tensor]:
    """Random steps as an attack makes them, and how margins change from one end to the other.

    Args:
        victim: Who is asked, `2 * DIRECTIONS` times for an image.
        x: Images `(b, c, h, w)`.
        y: The classes `(b,)` of the margins.
        draws: Of the images; both ends of a step meet the same.
        threat: The length of a step is `STEP` of its budget.

    Returns:
        Steps `(b, k, c, h, w)` and changes `(b, k)` float64.
    """
    shape = (DIRECTIONS, *x.shape[1:])
    signs = (2.0 * draws.at("directions").integers(2, shape) - 1).to(x.dtype)
    steps = STEP * threat.eps * threat.direction(signs.flatten(0, 1)).view(len(x), *shape)
    return steps, _changes(victim, x, y, steps, draws)


def cosine_of(gradient: Tensor, steps: Tensor, moved: Tensor) -> float:
    """The cosine between the changes that a gradient predicts of steps, and those of the answers.

    It is the cosine with an estimate by simultaneous perturbation (Spall, "Multivariate stochastic
    approximation using a simultaneous perturbation gradient approximation", 1992) without the noise of its few
    directions: 1 where the victim is linear and the gradient its own, around 0 where the gradient says nothing.

    Returns:
        From -1 to 1, the mean over the images whose answers change; 0 where none does.
    """
    predicted = (gradient[:, None] * steps).flatten(2).sum(2).double()
    length = predicted.norm(dim=1) * moved.norm(dim=1)
    found = (predicted * moved).sum(1) / length.clamp_min(1e-30)
    is_moved = moved.norm(dim=1) > 0
    return float(found[is_moved].mean().clamp(-1, 1)) if bool(is_moved.any()) else 0.0


def _changes(victim: Victim, x: Tensor, y: Tensor, steps: Tensor, draws: Draws) -> Tensor:
    """How much margins change from one end of each step `(b, k, c, h, w)` to the other, `(b, k)` float64."""
    b, k = steps.shape[:2]
    ends = torch.stack((x[:, None] + steps, x[:, None] - steps), 2).clamp(0, 1).flatten(0, 2)
    which = torch.arange(b, device=x.device).repeat_interleave(2 * k)

    def one_pass(rows: Tensor) -> Tensor:
        at = which[rows]
        with fresh_global_state("slope"), torch.no_grad():
            logits = victim.logits(ends[rows], draws=draws.take(at), mode=GradientMode.EXACT)
        return margin(logits, y[at]).double()

    passes = BatchLimit(ROWS).passes(len(ends), one_pass, x.device)
    higher, lower = torch.cat([found for _, found in passes]).view(b, k, 2).unbind(2)
    return higher - lower
