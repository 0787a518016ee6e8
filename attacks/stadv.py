"""StAdv: pixels are moved, not changed, along a small and smooth flow."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from benchmark.attack import Attack, Passes
from benchmark.errors import BenchError
from benchmark.losses import margin
from benchmark.randomness import Draws
from benchmark.search import Search, success_value, untargeted
from benchmark.target import Objective, Target
from benchmark.threat import Threat

_BETAS = (0.9, 0.999)
_TINY = 1e-8


class StAdv(Attack):
    """A flow that moves every pixel by itself, held within a bound and found by Adam on the margin.

    Xiao, Zhu, Li, He, Liu and Song, "Spatially transformed adversarial examples", ICLR 2018, Eqs. 1 to 4.
    The flow's bound, not a norm of the image's change, is its own budget. The image is projected into the
    threat's as well: under `linf:1`, which allows any image, it is the flow alone that counts. Xiao et al. use
    L-BFGS and no bound; the defaults here are those under which purifiers are evaluated (DiffPure and AToP).

    Args:
        steps: Steps of Adam.
        bound: How far a pixel is moved at the most, along each axis, where the image is 2 wide and 2 high:
            with 32 pixels, .05 is .8 of a pixel.
        step_size: Adam's learning rate, as a share of the bound.
        smoothness: Tau, the weight of the flow's roughness against the margin in logits.
        random_start: Whether it starts from a random flow of half the bound; at no flow at all an image that is
            bilinear between its pixels has kinks, not slopes.
        target_class: A class to which all images are driven; those that belong to it go to the class after it.
            None drives each away from its true label. Success is still any wrong label.
    """

    name = "stadv"
    summary = "spatially transformed images: a bounded flow field (Xiao et al. 2018)"

    def __init__(
        self,
        *,
        steps: int = 20,
        bound: float = 0.05,
        step_size: float = 0.2,
        smoothness: float = 0.05,
        random_start: bool = True,
        target_class: int | None = None,
    ) -> None:
        self.steps = steps
        self.bound = bound
        self.step_size = step_size
        self.smoothness = smoothness
        self.random_start = random_start
        self.target_class = target_class

    def perturb(
        self, target: Target, x: Tensor, y: Tensor, *, threat: Threat, draws: Draws
    ) -> Tensor:
        """The best image of each `(b, 1, c, h, w)`; of a random victim the last one too, `(b, 2, c, h, w)`."""
        self._refuse_arguments(target.classes)
        is_random = target.victim.stochastic or target.eot > 1
        search = Search(target, x, y, draws=draws, puts_success_first=not is_random)
        flow = x.new_zeros(len(x), 2, *x.shape[2:])
        if self.random_start:
            uniform = search.draws("init").uniform((2, *x.shape[2:]), dtype=x.dtype)
            flow = self.bound * (uniform - 0.5)
        adam = _Adam(flow, torch.zeros_like(flow), torch.zeros_like(flow))
        for step in range(self.steps + 1):
            x_adv, gradient, stays = self._look(search, adam.flow, threat, step)
            adam, gradient = adam.of(stays), gradient[stays]
            if not len(search.which):
                break
            if step < self.steps:
                adam = adam.climbed(gradient, self.step_size * self.bound, self.bound)
        candidates = [search.best, x_adv] if is_random else [search.best]
        return torch.stack(candidates, dim=1)

    def passes(
        self, *, classes: int, eot: int, stochastic: bool, shape: tuple[int, int, int]
    ) -> Passes:
        """A look at every flow, the last one's too."""
        del classes, shape
        rows = (self.steps + 1) * eot
        return Passes(forwards=rows, backwards=rows, candidates=2 if stochastic or eot > 1 else 1)

    def _look(
        self, search: Search, flow: Tensor, threat: Threat, step: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Measures what flows `(a, 2, h, w)` make and offers it; images, gradients in the flow, who stays."""
        with torch.enable_grad():
            leaf = flow.detach().requires_grad_()
            x_adv = threat.project(search.x, warped(search.x, leaf))
            ascent = search.look(x_adv.detach(), self._objective(search), 0, 0, step)
            raised = (x_adv * ascent.gradient).sum() - self.smoothness * roughness(leaf).sum()
            (gradient,) = torch.autograd.grad(raised, leaf)
        x_adv, value = x_adv.detach(), ascent.loss
        if search.puts_success_first:
            value = success_value(ascent.logits, search.y, ascent.loss)
        return x_adv, gradient, search.offer(x_adv, ascent.logits, value)

    def _objective(self, search: Search) -> Objective:
        """What is raised: the margin, or minus the margin of the target class."""
        target, y = search.target, search.y
        if self.target_class is None:
            return untargeted(target, y, margin)
        goal = torch.full_like(y, self.target_class)
        goal = torch.where(y == goal, (goal + 1) % target.classes, goal)
        return untargeted(target, goal, lambda logits, goals: -margin(logits, goals))

    def _refuse_arguments(self, classes: int) -> None:
        if self.target_class is not None and self.target_class not in range(classes):
            raise BenchError(
                f"attack {self.name!r}: target_class is one of 0 to {classes - 1}; got {self.target_class!r}"
            )
        if self.steps < 1 or not (self.bound > 0 and self.step_size > 0 and self.smoothness >= 0):
            raise BenchError(
                f"attack {self.name!r} needs at least 1 step, a bound and a step_size above 0 and a "
                f"smoothness from 0 up; got steps={self.steps}, bound={self.bound}, "
                f"step_size={self.step_size}, smoothness={self.smoothness}"
            )


def warped(x: Tensor, flow: Tensor) -> Tensor:
    """Images `(b, c, h, w)` whose pixels are read elsewhere, bilinearly; beyond the border, from the border.

    Args:
        x: Images.
        flow: Where each pixel is read, relative to its place: `(b, 2, h, w)`, along the width and along the
            height, where the image is 2 wide and 2 high.
    """
    h, w = x.shape[2:]
    across = (2 * torch.arange(w, dtype=x.dtype, device=x.device) + 1) / w - 1
    down = (2 * torch.arange(h, dtype=x.dtype, device=x.device) + 1) / h - 1
    grid = torch.stack((across.expand(h, w), down[:, None].expand(h, w)), dim=-1)  # (h, w, 2)
    return functional.grid_sample(
        x, grid + flow.permute(0, 2, 3, 1), padding_mode="border", align_corners=False
    )


def roughness(flow: Tensor) -> Tensor:
    """How much neighbours' flows `(b, 2, h, w)` differ, in pixels, over ordered pairs, `(b,)` (Eq. 4)."""
    h, w = flow.shape[2:]
    pixels = torch.stack((flow[:, 0] * (w / 2), flow[:, 1] * (h / 2)), dim=1)
    across = (pixels[..., 1:] - pixels[..., :-1]).square().sum(1).flatten(1)
    down = (pixels[..., 1:, :] - pixels[..., :-1, :]).square().sum(1).flatten(1)
    return 2 * (torch.cat((across, down), dim=1) + _TINY**2).sqrt().sum(1)


@dataclass(frozen=True, slots=True)
class _Adam:
    """Flows `(a, 2, h, w)` and Adam's moments of their gradients (Kingma and Ba, ICLR 2015, algorithm 1)."""

    flow: Tensor
    first: Tensor
    second: Tensor
    step: int = 0

    def of(self, stays: Tensor) -> _Adam:
        """Those images of which a mask `(a,)` says that they stay."""
        return _Adam(self.flow[stays], self.first[stays], self.second[stays], self.step)

    def climbed(self, gradient: Tensor, rate: float, bound: float) -> _Adam:
        """A step up, held within the bound."""
        t, (b1, b2) = self.step + 1, _BETAS
        first = b1 * self.first + (1 - b1) * gradient
        second = b2 * self.second + (1 - b2) * gradient.square()
        move = (first / (1 - b1**t)) / ((second / (1 - b2**t)).sqrt() + _TINY)
        return _Adam((self.flow + rate * move).clamp(-bound, bound), first, second, t)
