"""Slopes of answers alone: how well each gradient tells what steps as an attack makes them do to a victim."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

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

MISLED = 0.06
"""How much more of the answers a recovered gradient may tell than those that attacks follow, as cosines: 0.028
at the most for the shipped purifiers (AID, five seeds; 0 for the others), on digits; 0.16 to 0.5 where `detach`
and the like hide a denoiser behind the identity."""


def misled(
    victim: Victim, x: Tensor, *, draws: Draws, modes: Iterable[GradientMode], threat: Threat
) -> tuple[float, float, str]:
    """How much better a recovered gradient tells the answers than any of the modes, from 0 to 1.

    Returns:
        The difference of their `agreements`, the most that is allowed, and a line that says all of them.
    """
    used = tuple(modes)
    found = agreements(victim, x, draws=draws, modes=(*used, GradientMode.RECOVERED), threat=threat)
    more = found[GradientMode.RECOVERED] - max(found[mode] for mode in used)
    said = ", ".join(f"{mode} {cosine:.2f}" for mode, cosine in found.items())
    return max(0.0, more), MISLED, f"cosine of gradients to what the victim answers: {said}"


def agreements(
    victim: Victim, x: Tensor, *, draws: Draws, modes: Iterable[GradientMode], threat: Threat
) -> dict[GradientMode, float]:
    """For each mode the cosine between the changes that its gradient predicts and those of the answers.

    Both are of the margin of the class that the victim answers, at the same draws. It is the cosine with an
    estimate by simultaneous perturbation (Spall, "Multivariate stochastic approximation using a simultaneous
    perturbation gradient approximation", 1992) without the noise of its few directions: 1 where the victim is
    linear and the gradient its own, around 0 where the gradient says nothing.

    Args:
        victim: Who is asked, `2 * DIRECTIONS` times for an image.
        x: Images `(b, c, h, w)`.
        draws: Of the images.
        modes: Of the gradients.
        threat: The length of a step is `STEP` of its budget.

    Returns:
        From -1 to 1, the mean over the images whose answer changes; 0 where none does.
    """
    with torch.no_grad():
        y = victim.logits(x, draws=draws, mode=GradientMode.EXACT).argmax(1)
    gradients = {mode: _gradient(victim, x, y, draws, mode) for mode in modes}
    shape = (DIRECTIONS, *x.shape[1:])
    signs = (2.0 * draws.at("directions").integers(2, shape) - 1).to(x.dtype)
    steps = STEP * threat.eps * threat.direction(signs.flatten(0, 1)).view(len(x), *shape)
    moved = _changes(victim, x, y, steps, draws)
    return {
        mode: _cosine((each[:, None] * steps).flatten(2).sum(2), moved)
        for mode, each in gradients.items()
    }


def _changes(victim: Victim, x: Tensor, y: Tensor, steps: Tensor, draws: Draws) -> Tensor:
    """How much margins change from one end of each step `(b, k, c, h, w)` to the other, `(b, k)` float64."""
    b, k = steps.shape[:2]
    ends = torch.stack((x[:, None] + steps, x[:, None] - steps), 2).clamp(0, 1).flatten(0, 2)
    which = torch.arange(b, device=x.device).repeat_interleave(2 * k)
    found = []
    with torch.no_grad():
        for start in range(0, len(ends), ROWS):
            rows = slice(start, start + ROWS)
            at = draws.take(which[rows])
            logits = victim.logits(ends[rows], draws=at, mode=GradientMode.EXACT)
            found.append(margin(logits, y[which[rows]]).double())
    higher, lower = torch.cat(found).view(b, k, 2).unbind(2)
    return higher - lower


def _cosine(predicted: Tensor, moved: Tensor) -> float:
    """The mean cosine of rows `(b, k)`, over those that moved."""
    length = predicted.double().norm(dim=1) * moved.norm(dim=1)
    found = (predicted.double() * moved).sum(1) / length.clamp_min(1e-30)
    is_moved = moved.norm(dim=1) > 0
    return float(found[is_moved].mean()) if bool(is_moved.any()) else 0.0


def _gradient(victim: Victim, x: Tensor, y: Tensor, draws: Draws, mode: GradientMode) -> Tensor:
    """Of the margins, `(b, c, h, w)`; zeros where nothing leads back."""
    with torch.enable_grad():
        leaf = x.detach().requires_grad_()
        total = margin(victim.logits(leaf, draws=draws, mode=mode), y).sum()
        found = (
            torch.autograd.grad(total, leaf, allow_unused=True)[0] if total.requires_grad else None
        )
    return torch.zeros_like(x) if found is None else found
