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
STEP = 0.25
"""Length of a step, as a share of the budget."""

MISLED = 0.06
"""How much more of the answers a recovered gradient may tell than those that attacks follow, as cosines: 0.042
at the most for the shipped purifiers (AID, five seeds; 0 for the others), on digits; 0.07 to 0.3 where `detach`
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
    steps, changes = [], []
    for k in range(DIRECTIONS):
        signs = 2.0 * draws.at("direction", k).integers(2, tuple(x.shape[1:])) - 1
        steps.append(STEP * threat.eps * threat.direction(signs.to(x.dtype)))
        ends = torch.cat((x + steps[-1], x - steps[-1])).clamp(0, 1)
        with torch.no_grad():
            logits = victim.logits(ends, draws=draws.take(_twice(x)), mode=GradientMode.EXACT)
        higher, lower = margin(logits, y.repeat(2)).chunk(2)
        changes.append(higher - lower)
    moved = torch.stack(changes, 1).double()  # (b, k)
    return {
        mode: _cosine(torch.stack([(each * step).flatten(1).sum(1) for step in steps], 1), moved)
        for mode, each in gradients.items()
    }


def _twice(x: Tensor) -> Tensor:
    return torch.arange(len(x), device=x.device).repeat(2)


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
