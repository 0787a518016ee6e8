"""DDN: the smallest l2 change that fools, whose direction and length are searched apart."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmark.engine.attacking.minimum_norm import MinimumNormAttack, MinimumNormSearch
from benchmark.engine.attacking.search import untargeted
from benchmark.engine.randomness import Draws
from benchmark.engine.threat import Norm

_FIRST_STEP, _LAST_STEP = 1.0, 0.01
"""Lengths between which a step's falls along a half cosine, as in the authors' code."""
_TINY = 1e-12


@dataclass(kw_only=True, eq=False, repr=False)
class DDN(MinimumNormAttack):
    """Decoupled direction and norm (Rony et al., CVPR 2019, Algorithm 1).

    Each step adds a unit gradient of the cross-entropy, times a falling length, to the change, and sets the
    change's length: shorter by gamma where the iterate fools, longer by gamma where it does not. Each image
    gets the fooling iterate of smallest change; where that is larger than eps it is moved into the budget, and
    no longer fools. An image that was never fooled gets the iterate of highest margin. Where images may leave,
    one does once it is fooled inside the budget. A random victim's images get that one, and the same change as
    long as the budget allows. For l2 threats only.

    Args:
        steps: Looks at an iterate, each followed by a step but the last.
        gamma: See above.
        init_eps: The change's length before the first step, in l2 of pixel units; no budget.
        levels: Grey levels to which each iterate is rounded, as 256 in the authors' code; 0 for none.
        target_class: A class to which all images are driven, those that belong to it to the class after it;
            `least-likely` or `random`, a wrong class for each image; None, away from the true label. Towards a
            class an iterate fools where it reaches it, as Rony et al. measure; one inside the budget that meets
            another wrong class counts where none reaches the goal there.
    """

    name = "ddn"
    norms = frozenset({Norm.L2})

    steps: int = 100
    gamma: float = 0.05
    init_eps: float = 1.0
    levels: int = 0
    target_class: int | str | None = None

    @property
    def looks(self) -> int:
        """At every iterate but the last."""
        return self.steps

    def search(self, found: MinimumNormSearch, draws: Draws) -> None:
        """All steps of those still attacked."""
        x, aim, target = found.x, found.aim, found.target
        δ, length = torch.zeros_like(x), x.new_full((len(x),), self.init_eps)
        longest = torch.maximum(x, 1 - x).flatten(1).norm(dim=1)
        for step in range(self.steps):
            at = found.which
            objective = untargeted(target, aim.classes[at], aim.loss())
            eot = draws.at("eot", 0, 0, step).take(at)
            x_adv = (x[at] + δ[at]).clamp(0.0, 1.0)
            ascent = target.ascend(x_adv, objective, draws=eot)
            fools = found.take_note(x_adv, ascent.logits)
            if not len(found.which):
                break
            uphill = _unit(ascent.gradient, draws.at("flat", step).take(at))
            factor = torch.where(fools, 1 - self.gamma, 1 + self.gamma)
            length[at] = torch.minimum(length[at] * factor, longest[at])
            moved = δ[at] + _step_length(step, self.steps) * uphill
            δ[at] = self._shortened(x[at], moved, length[at])

    def _shortened(self, x: Tensor, δ: Tensor, length: Tensor) -> Tensor:
        """Changes `(a, c, h, w)` of a length `(a,)`, then inside [0, 1], then rounded."""
        before = δ.flatten(1).norm(dim=1).clamp_min(_TINY)
        x_adv = (x + δ * (length / before).view(-1, 1, 1, 1)).clamp(0.0, 1.0)
        if self.levels:
            x_adv = (x_adv * (self.levels - 1)).round() / (self.levels - 1)
        shortened: Tensor = x_adv - x
        return shortened

    def _refuse_arguments(self) -> None:
        has_levels = self.levels >= 0 and self.levels != 1
        self._require(
            self.steps >= 1 and has_levels and 0 < self.gamma < 1 and self.init_eps > 0,
            "at least 1 step, a gamma between 0 and 1, an init_eps above 0 and levels of 0 or at least 2",
        )


def _step_length(step: int, steps: int) -> float:
    return _LAST_STEP + (_FIRST_STEP - _LAST_STEP) * (1 + math.cos(math.pi * step / steps)) / 2


def _unit(gradient: Tensor, draws: Draws) -> Tensor:
    """Gradients of length 1; where there is none, a random direction, as in the authors' code."""
    is_flat = gradient.flatten(1).norm(dim=1) == 0
    if is_flat.any():
        noise = draws.normal(tuple(gradient.shape[1:]), dtype=gradient.dtype)
        gradient = torch.where(is_flat.view(-1, 1, 1, 1), noise, gradient)
    unit: Tensor = gradient / gradient.flatten(1).norm(dim=1).clamp_min(_TINY).view(-1, 1, 1, 1)
    return unit
