"""Wasserstein attack: brightness carried to near pixels, for the greatest loss, by Frank and Wolfe's method."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmark.engine.attacking.attack import Attack, Passes
from benchmark.engine.attacking.losses import LOSSES, classes_for, refuse_loss
from benchmark.engine.attacking.perturbations import (
    Perturbation,
    Transport,
    transported,
    unfolded,
    ways,
)
from benchmark.engine.attacking.search import Search, untargeted
from benchmark.engine.attacking.target import Ascent, Target
from benchmark.engine.randomness import Draws
from benchmark.engine.threat import NamedSet, Threat

_HALVINGS = 50
"""Of the interval in which the dual variable lies: all that float32 can tell apart, and more."""
_SETTLINGS = 10
"""How often a part of what overfills a pixel is sent back, before all that arrives at it is."""
_PRICE_STEP = 0.3
"""By how much a pixel's price rises for what overfills it, in units of the greatest slope."""
_FULL = 1 + 1e-6
"""Above which a pixel is overfilled: less is rounding."""


@dataclass(kw_only=True, eq=False, repr=False)
class Wasserstein(Attack):
    """Wu, Wang and Yu, "Stronger and faster Wasserstein adversarial attacks", ICML 2020: their Frank-Wolfe.

    A plan says how much of each pixel is carried to each of its neighbours, within its channel. Its cost, way
    in pixels times what is carried, is at most eps times the brightness of the whole image. Each step finds the
    plan that raises the linearised loss most, and goes `2 / (t + 2)` of the way towards it.

    Two things differ from the paper. The linear problem is solved exactly: its dual has one variable, which is
    halved in on, and the plans on its two sides are mixed to the very budget; the paper smooths it by an
    entropy. And no pixel is filled above 1, which the paper leaves as it is or corrects at the end: a pixel has
    a price that rises while it is overfilled (an augmented Lagrangian), and what overfills one all the same is
    sent back to where it came from before the victim is asked.

    Args:
        steps: Of Frank and Wolfe.
        window: Width of the square of pixels, itself in the middle, to which a pixel's brightness may go; odd.
        loss: `ce`, `margin` or `dlr`.
    """

    name = "wasserstein"
    norms = frozenset({NamedSet.WASSERSTEIN})

    steps: int = 300
    window: int = 5
    loss: str = "ce"

    def perturb(
        self, target: Target, x: Tensor, y: Tensor, *, threat: Threat, draws: Draws
    ) -> Perturbation:
        """The best plan of each `(b, 1, c, k * k, h, w)`; of a random victim the last one too, with m = 2."""
        self._refuse_arguments(target.classes)
        b, c, h, w = x.shape
        plan = x.new_zeros(b, c, self.window**2, h, w)
        price = torch.zeros_like(x)
        search = Search(
            target, x, y, draws=draws, puts_success_first=not target.is_random, keeps=plan
        )
        for step in range(self.steps + 1):
            settled, ascent, stays = self._look(search, plan, step)
            plan, price, gradient = plan[stays], price[stays], ascent.gradient[stays]
            if not len(search.which):
                break
            if step < self.steps:
                excess = transported(search.x, plan) - 1
                steepest = gradient.flatten(1).abs().amax(1).view(-1, 1, 1, 1)
                worth = gradient - steepest * (price + excess).clamp_min(0.0)
                price = (price + _PRICE_STEP * excess).clamp_min(0.0)
                best = best_plan(search.x, worth, threat.eps, self.window)
                plan = plan + 2 / (step + 2) * (best - plan)
        found = [search.best, settled] if target.is_random else [search.best]
        return Transport(torch.stack(found, dim=1))

    def least_classes(self, **_: object) -> int:
        """Those that its loss is defined with."""
        return classes_for(self.loss)

    def passes(self, *, eot: int, stochastic: bool, **_: object) -> Passes:
        """A look at every plan, the first and the last one's too."""
        rows = (self.steps + 1) * eot
        return Passes(forwards=rows, backwards=rows, candidates=2 if stochastic or eot > 1 else 1)

    def _look(self, search: Search, plan: Tensor, step: int) -> tuple[Tensor, Ascent, Tensor]:
        """Measures what plans of the images still attacked make and offers it; plans, loss, and who stays."""
        settled = without_excess(search.x, plan)
        x_adv = transported(search.x, settled).clamp(0.0, 1.0)
        objective = untargeted(search.target, search.y, LOSSES[self.loss])
        ascent = search.look(x_adv, objective, 0, 0, step)
        return settled, ascent, search.consider(settled, ascent)

    def _refuse_arguments(self, classes: int) -> None:
        refuse_loss(self.name, self.loss, known=tuple(LOSSES), classes=classes)
        self._require(
            self.steps >= 1 and self.window >= 3 and self.window % 2 == 1,
            "at least 1 step and an odd window from 3 up",
            *("steps", "window"),
        )


def best_plan(x: Tensor, gradient: Tensor, eps: float, window: int) -> Tensor:
    """The plan that raises a linear function of the image most, within the budget (their dual LMO).

    Each pixel sends all that it has to the place of the greatest `gain - λ way`. The greater λ, the less all of
    that costs; the λ at which it costs the budget is found by halving.

    Args:
        x: Images `(b, c, h, w)`.
        gradient: Of the function, `(b, c, h, w)`.
        eps: The budget: pixels of way, on average over all the brightness of the image.
        window: Width of the square of places.

    Returns:
        `(b, c, window * window, h, w)`, as `benchmark.engine.attacking.perturbations.transported` takes it.
    """
    gain = unfolded(gradient, window) - gradient.unsqueeze(2)
    outside = unfolded(torch.ones_like(x[:1, :1]), window) == 0
    gain = gain.masked_fill(outside, -torch.inf)
    way = ways(window**2, x).view(1, 1, -1, 1, 1)
    budget = eps * x.flatten(1).sum(1)

    def sent(λ: Tensor) -> Tensor:
        most, place = (gain - λ.view(-1, 1, 1, 1, 1) * way).max(2, keepdim=True)
        place = torch.where(most > 0, place, window**2 // 2)  # what gains nothing stays
        return torch.zeros_like(gain).scatter_(2, place, x.unsqueeze(2))

    def cost(plan: Tensor) -> Tensor:
        return (plan * way).flatten(1).sum(1)

    low = torch.zeros_like(budget)
    high = 2 * gradient.flatten(1).abs().amax(1) + 1  # no way is shorter than 1: all stay
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        is_dear = cost(sent(middle)) > budget
        low, high = torch.where(is_dear, middle, low), torch.where(is_dear, high, middle)
    dear, cheap = sent(low), sent(high)
    spent, saved = cost(dear), cost(cheap)
    share = ((budget - saved) / (spent - saved)).nan_to_num(1.0).clamp(0.0, 1.0)
    return cheap + share.view(-1, 1, 1, 1, 1) * (dear - cheap)


def without_excess(x: Tensor, plan: Tensor) -> Tensor:
    """A plan that fills no pixel of `x` above 1, and carries no more from anywhere than the one given.

    What is sent back may overfill the pixel that it came from, and is sent back from there as well. In the end
    a pixel at which nothing arrives any more holds no more than it had.
    """
    k = math.isqrt(plan.shape[2])
    keeps = torch.ones_like(plan[:1, :1, :, :1, :1])
    keeps[:, :, k * k // 2] = 0.0
    plan = plan * keeps  # what stays in the middle is not carried
    for number in range(_SETTLINGS + x[0, 0].numel()):
        made = transported(x, plan)
        is_over = made > _FULL
        if not bool(is_over.any()):
            break
        stay = x - plan.sum(2)
        kept = (1 - stay) / (made - stay) if number < _SETTLINGS else torch.zeros_like(x)
        plan = plan * unfolded(torch.where(is_over, kept, 1.0), k)
    return plan
