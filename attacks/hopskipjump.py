"""HopSkipJump: walks along the boundary by labels alone."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmark.engine.attacking.attack import Attack, Passes
from benchmark.engine.attacking.label_walk import LabelWalk
from benchmark.engine.attacking.queries import TRIES, halvings
from benchmark.engine.attacking.target import Target
from benchmark.engine.randomness import Draws
from benchmark.engine.threat import Norm, Threat

_SHRINKS = 10
"""How often a step that leads back to the right class is halved at the most."""
_FIRST_RADIUS = 0.1
"""Of the ball in which the first direction is estimated."""
_LEVEL = 1 / 255
"""In each pixel, what labels are asked for around at least, but for half the distance: a victim that rounds its
input sees nothing of less."""
_FAR = 0.5
"""Of the l2 distance to the image, how far around a random victim is asked: nearer by, noise alone decides."""
_TINY = 1e-12


@dataclass(kw_only=True, eq=False, repr=False)
class HopSkipJump(Attack):
    """HopSkipJumpAttack (Chen, Jordan and Wainwright, S&P 2020, algorithm 2), by labels alone, in linf and l2.

    It bisects to the boundary, estimates the direction across it from labels around (equations 12 to 16), steps
    along that as far as the label stays wrong, and bisects again. An image counts only within eps: where the
    nearest misclassified image lies farther away it is moved into the budget, and no longer fools. Of a fixed
    victim an image leaves, where it may, once it is within eps. A random victim's answer is the majority of
    `draws` labels, each a query, and labels are asked for half as far around as the image lies, where more than
    noise decides; its images go the whole way, and the last and the nearest come back, both on the rim of the
    budget, because on the boundary every second draw is still right.

    It is written here because foolbox 3.3.4 divides each estimated direction by the norm over the whole batch,
    halves a step without end where a random victim denies what it said before, and draws from the global
    generator.

    Args:
        queries: Answers of the victim for an image, at the most.
        first: Labels for the first estimated direction; that after t steps takes `sqrt(t + 1)` times as many.
        draws: Labels of a random victim for one answer.
    """

    name = "hopskipjump"
    mixes = False

    queries: int = 5000
    first: int = 100
    draws: int = 5

    def perturb(
        self, target: Target, x: Tensor, y: Tensor, *, threat: Threat, draws: Draws
    ) -> Tensor:
        """One image for each `(b, 1, c, h, w)`, two for each where the victim is random."""
        self._refuse_arguments(tuple(x.shape[1:]), threat, stochastic=target.victim.stochastic)
        walk = _Walk(target, x, y, threat=threat, draws=draws, k=self.draws)
        most = halvings(tuple(x.shape[1:]), threat.norm)
        for step in range(self.queries):
            m = int(self.first * math.sqrt(step + 1))
            walk.let_go(self.queries - walk.oracle.k * (m + _SHRINKS + most))
            if not len(walk.which):
                break
            walk.step(step, m)
        return walk.images()

    def passes(self, *, stochastic: bool, **_: object) -> Passes:
        """All its queries, at the most."""
        return Passes(forwards=self.queries, backwards=0, candidates=2 if stochastic else 1)

    def _refuse_arguments(
        self, shape: tuple[int, ...], threat: Threat, *, stochastic: bool
    ) -> None:
        k = self.draws if stochastic else 1
        least = k * (1 + TRIES + halvings(shape, threat.norm))
        self._require(
            self.first >= 1 and self.draws >= 1 and self.queries >= least,
            f"at least 1 label for a direction, 1 draw and, for a start on such images, {least} queries",
        )


class _Walk(LabelWalk):
    """Where each image of a batch stands on the boundary, and what leads across it."""

    first = ("first",)

    def let_go(self, most: int) -> None:
        """Lets images leave that have spent more than `most` queries or, where they may, are within eps."""
        self.mark()
        self.leave(self.oracle.spent <= most)

    def step(self, step: int, m: int) -> None:
        """One step of all that walk, its direction estimated from m labels."""
        direction = self.threat.direction(self._direction(step, m))
        here = self.x_adv[self.which]
        length = self.threat.size(self.x[self.which], here) / math.sqrt(step + 1)
        left = torch.arange(len(here), device=here.device)
        for number in range(_SHRINKS):
            if not len(left):
                break
            tried = here[left] + length[left].view(-1, 1, 1, 1) * direction[left]
            tried = tried.clamp(0.0, 1.0)
            at = self.which[left]
            wrong = self.oracle.is_fooled(tried, at, self.draws.at("step", step, number).take(at))
            self.x_adv[at[wrong]] = tried[wrong]
            left = left[~wrong]
            length = length / 2
        self.to_boundary(step)
        self.keep_nearer()

    def _direction(self, step: int, m: int) -> Tensor:
        """The direction across the boundary, `(a, c, h, w)`: the mean of m small steps, signed by their labels.

        Their mean sign is taken off each first (equation 16), unless all labels are the same.
        """
        at = self.which
        here, shape = self.x_adv[at], tuple(self.x.shape[1:])
        radius = self._radius(here, step)
        rows = self.draws.at("direction", step).take(at).repeat(m)
        owner = torch.arange(len(at), device=at.device).repeat_interleave(m)
        signed, total = torch.zeros_like(here), torch.zeros_like(here)
        signs = here.new_zeros(len(at))
        every = torch.arange(len(rows), device=at.device)
        for part in torch.split(every, self.target.batch_size):
            own = owner[part]
            u = self._noise(rows.take(part), shape, here.dtype)
            tried = (here[own] + radius[own] * u).clamp(0.0, 1.0)
            wrong = self.oracle.is_fooled(tried, at[own], rows.take(part).at("look"))
            u = (tried - here[own]) / radius[own]
            sign = torch.where(wrong, 1.0, -1.0).to(here.dtype)
            signed.index_add_(0, own, u * sign.view(-1, 1, 1, 1))
            total.index_add_(0, own, u)
            signs.index_add_(0, own, sign)
        mean = (signs / m).view(-1, 1, 1, 1)
        return torch.where(mean.abs() == 1, signed, signed - mean * total) / m

    def _radius(self, here: Tensor, step: int) -> Tensor:
        """How far around the boundary labels are asked for, in l2, `(a, 1, 1, 1)`; d pixels (section IV.C)."""
        d = here[0].numel()
        wide = _FAR * (here - self.x[self.which]).flatten(1).norm(dim=1)
        if self.target.victim.stochastic:
            radius = wide
        elif step == 0:
            radius = torch.full_like(wide, _FIRST_RADIUS)
        else:
            fine = self.threat.size(self.x[self.which], here) / d  # theta times d, in l2 its root
            radius = torch.maximum(fine, wide.clamp_max(_LEVEL * d**0.5))
        found: Tensor = radius.clamp_min(_TINY).view(-1, 1, 1, 1)
        return found

    def _noise(self, rows: Draws, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """Directions of l2 length 1, `(r, c, h, w)`: normal in l2, uniform in linf."""
        if self.threat.norm is Norm.LINF:
            u = 2 * rows.uniform(shape, dtype=dtype) - 1
        else:
            u = rows.normal(shape, dtype=dtype)
        unit: Tensor = u / u.flatten(1).norm(dim=1).clamp_min(_TINY).view(-1, 1, 1, 1)
        return unit
