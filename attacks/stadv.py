"""StAdv: pixels are moved, not changed, along a small and smooth flow."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from benchmark.engine.attacking.adam import Adam
from benchmark.engine.attacking.attack import LP, Attack, Passes
from benchmark.engine.attacking.losses import margin
from benchmark.engine.attacking.perturbations import Flow, Perturbation, warped
from benchmark.engine.attacking.search import Search, untargeted
from benchmark.engine.attacking.target import Target
from benchmark.engine.attacking.targeted import Goal, classes_for_aim, goal_of
from benchmark.engine.randomness import Draws
from benchmark.engine.threat import NamedSet, Threat
from benchmark.errors import BenchError

_TINY = 1e-8
_USUAL_BOUND = 0.05


@dataclass(kw_only=True, eq=False, repr=False)
class StAdv(Attack):
    """A flow that moves every pixel by itself, held within a bound and found by Adam on the margin.

    Xiao, Zhu, Li, He, Liu and Song, "Spatially transformed adversarial examples", ICLR 2018, Eqs. 1 to 4. The
    flow's bound, not a norm of the image's change, is its own budget. Under `stadv:0.05` it is that of the
    threat, and the harness measures the flow. Under an lp threat the image is projected into that as well:
    `linf:1` allows any image, so that the flow alone counts. Xiao et al. use L-BFGS and no bound; the defaults
    here are those under which purifiers are evaluated (DiffPure and AToP, `stadv:0.05`).

    Args:
        steps: Steps of Adam.
        bound: How far a pixel is moved at the most, along each axis, where the image is 2 wide and 2 high:
            with 32 pixels, .05 is .8 of a pixel. None is all that a `stadv` threat allows, and .05 under an lp
            threat.
        step_size: Adam's learning rate, as a share of the bound.
        smoothness: Tau, the weight of the flow's roughness against the margin in logits.
        random_start: Whether it starts from a random flow of half the bound; at no flow at all an image that is
            bilinear between its pixels has kinks, not slopes.
        target_class: A class to which all images are driven; those that belong to it go to the class after it.
            None drives each away from its true label. Success is still any wrong label.
    """

    name = "stadv"
    norms = LP | {NamedSet.STADV}

    steps: int = 20
    bound: float | None = None
    step_size: float = 0.2
    smoothness: float = 0.05
    random_start: bool = True
    target_class: int | None = None

    def perturb(
        self, target: Target, x: Tensor, y: Tensor, *, threat: Threat, draws: Draws
    ) -> Tensor | Perturbation:
        """The best image or flow of each, `(b, 1, ...)`; of a random victim the last one too, `(b, 2, ...)`."""
        bound = self._bound(threat)
        self._refuse_arguments(target.classes, bound, threat)
        aim = goal_of(target, x, y, target_class=self.target_class, draws=draws)
        flow = x.new_zeros(len(x), 2, *x.shape[2:])
        if self.random_start:
            uniform = draws.at("init").uniform((2, *x.shape[2:]), dtype=x.dtype)
            flow = bound * (uniform - 0.5)
        keeps = None if threat.is_read_off else flow
        search = Search(
            target, x, y, draws=draws, puts_success_first=not target.is_random, keeps=keeps
        )
        adam, rate = Adam(flow), self.step_size * bound
        for step in range(self.steps + 1):
            made, gradient, stays = self._look(search, aim, flow, threat, step)
            if not len(search.which):
                break
            if step < self.steps:
                mean, root = adam.moments(search.which, gradient[stays])
                flow = (flow[stays] + rate * (mean / root)).clamp(-bound, bound)
        found = torch.stack([search.best, made] if target.is_random else [search.best], dim=1)
        return found if threat.is_read_off else Flow(found)

    def least_classes(self, **_: object) -> int:
        """Those among which its target class is."""
        return classes_for_aim(self.target_class)

    def passes(self, *, eot: int, stochastic: bool, **_: object) -> Passes:
        """A look at every flow, the last one's too."""
        rows = (self.steps + 1) * eot
        return Passes(forwards=rows, backwards=rows, candidates=2 if stochastic or eot > 1 else 1)

    def _look(
        self, search: Search, aim: Goal, flow: Tensor, threat: Threat, step: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Measures what flows `(a, 2, h, w)` make and offers it.

        Returns:
            The images, or the flows where they are what counts; gradients in the flow; who stays.
        """
        with torch.enable_grad():
            leaf = flow.detach().requires_grad_()
            x_adv = warped(search.x, leaf)
            if threat.is_read_off:
                x_adv = threat.project(search.x, x_adv)
            objective = untargeted(search.target, aim.classes[search.which], aim.loss(margin))
            ascent = search.look(x_adv.detach(), objective, 0, 0, step)
            raised = (x_adv * ascent.gradient).sum() - self.smoothness * roughness(leaf).sum()
            (gradient,) = torch.autograd.grad(raised, leaf)
        made = (x_adv if threat.is_read_off else leaf).detach()
        return made, gradient, search.consider(made, ascent)

    def _bound(self, threat: Threat) -> float:
        if self.bound is not None:
            return self.bound
        return threat.eps if threat.norm is NamedSet.STADV else _USUAL_BOUND

    def _refuse_arguments(self, classes: int, bound: float, threat: Threat) -> None:
        if self.target_class is not None and self.target_class not in range(classes):
            raise BenchError(
                f"attack {self.name!r}: target_class is one of 0 to {classes - 1}; got {self.target_class!r}"
            )
        if threat.norm is NamedSet.STADV and bound > threat.eps:
            raise BenchError(
                f"attack {self.name!r}: the threat {threat} allows a bound of {threat.eps:g}; got {bound:g}: "
                f"leave it out"
            )
        if self.steps < 1 or not (bound > 0 and self.step_size > 0 and self.smoothness >= 0):
            raise BenchError(
                f"attack {self.name!r} needs at least 1 step, a bound and a step_size above 0 and a "
                f"smoothness from 0 up; got steps={self.steps}, bound={bound}, "
                f"step_size={self.step_size}, smoothness={self.smoothness}"
            )


def roughness(flow: Tensor) -> Tensor:
    """How much neighbours' flows `(b, 2, h, w)` differ, in pixels, over ordered pairs, `(b,)` (Eq. 4)."""
    h, w = flow.shape[2:]
    pixels = torch.stack((flow[:, 0] * (w / 2), flow[:, 1] * (h / 2)), dim=1)
    across = (pixels[..., 1:] - pixels[..., :-1]).square().sum(1).flatten(1)
    down = (pixels[..., 1:, :] - pixels[..., :-1, :]).square().sum(1).flatten(1)
    return 2 * (torch.cat((across, down), dim=1) + _TINY**2).sqrt().sum(1)
