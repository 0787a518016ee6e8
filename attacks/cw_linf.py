"""C&W in linf: the smallest largest change that fools, by Adam under a shrinking bound."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from benchmark.engine.attacking.attack import Attack, Passes
from benchmark.engine.attacking.losses import margin
from benchmark.engine.attacking.minimum_norm import MinimumNormSearch, passes_of_looks
from benchmark.engine.attacking.target import Ascent, Target
from benchmark.engine.attacking.targeted import classes_for_aim, goal_of, refuse_aim
from benchmark.engine.randomness import Draws
from benchmark.engine.threat import Norm, Threat
from benchmark.errors import BenchError

_SHRINK, _GROWTH = 0.9, 2.0
"""By how much a bound that was met shrinks, and the constant grows where it was not: the authors' values."""
_BETA1, _BETA2, _EPSILON = 0.9, 0.999, 1e-8


@dataclass(kw_only=True, eq=False, repr=False)
class CWLinf(Attack):
    """Carlini and Wagner's linf attack ("Towards evaluating the robustness", S&P 2017, section VI.C).

    Each round minimises `c * max(Z_y - max_other Z + kappa, 0) + sum_i max(|x'_i - x_i| - tau, 0)` by Adam.
    Where it finds an image that fools and changes no pixel by more than tau, tau becomes .9 of that image's
    change and the next round starts there; where not, c doubles. The first tau is eps, because a larger change
    would not count (the authors begin at 1). Each step is clipped to [0, 1], the first of their three ways with
    the box (section V.D); in tanh space, which they prefer, pixels of 0 and 1 hardly move within a round, and
    with images that are mostly black the attack finds almost nothing. Each image gets the misclassified
    iterate of smallest change; where that is larger than eps it is moved into the budget, and no longer fools.
    An image that was never fooled gets the iterate of highest margin. Where images may leave, one does once it
    is fooled inside the budget. A random victim's images get that one, and the same change as long as the
    budget allows. For linf threats only.

    What papers report as C&W under an linf budget is mostly another attack: steps of PGD on this loss, `pgd`
    with `loss="margin"` and a `confidence`.

    Args:
        rounds: At the most.
        steps: Of Adam, in each round at the most.
        initial_const: The first c.
        step_size: Of Adam, as a share of tau.
        confidence: Kappa, in logit units.
        target_class: A class to which all images are driven, those that belong to it to the class after it;
            `least-likely` or `random`, a wrong class for each image; None, any class but the true one. Towards
            a class an image fools where it reaches it, as Carlini and Wagner measure; an iterate inside the
            budget that meets another wrong class counts where none reaches the goal there.
    """

    name = "cw-linf"
    norms = frozenset({Norm.LINF})

    rounds: int = 15
    steps: int = 100
    initial_const: float = 1e-2
    step_size: float = 0.05
    confidence: float = 0.0
    target_class: int | str | None = None

    def perturb(
        self, target: Target, x: Tensor, y: Tensor, *, threat: Threat, draws: Draws
    ) -> Tensor:
        """One image for each `(b, 1, c, h, w)`, or a random victim's two candidates `(b, 2, c, h, w)`."""
        self._refuse_arguments(target.classes)
        aim = goal_of(target, x, y, target_class=self.target_class, draws=draws)
        smallest = MinimumNormSearch(target, x, y, threat, aim=aim, confidence=self.confidence)
        τ, c = x.new_full((len(x),), threat.eps), x.new_full((len(x),), self.initial_const)
        bound = _Bound(x.clone(), τ, c)
        for number in range(self.rounds):
            if not len(smallest.which):
                break
            self._descend(smallest, bound, draws.at("eot", number))
        return smallest.images()

    def least_classes(self, **_: object) -> int:
        """Those among which its target class is."""
        return classes_for_aim(self.target_class)

    def passes(self, *, eot: int, stochastic: bool, **_: object) -> Passes:
        """A look at every iterate but the last of each round."""
        looks = self.rounds * self.steps
        aim = self.target_class
        return passes_of_looks(looks, target_class=aim, eot=eot, stochastic=stochastic)

    def _descend(self, smallest: MinimumNormSearch, bound: _Bound, draws: Draws) -> None:
        """One round of all images still attacked, and what follows from it for their bounds, in place."""
        size = torch.full_like(bound.τ, float("inf"))
        start = bound.start.clone()
        shown, rate = start.clone(), (self.step_size * bound.τ).view(-1, 1, 1, 1)
        mean, square = torch.zeros_like(shown), torch.zeros_like(shown)
        for step in range(self.steps):
            at = smallest.which
            x_adv = shown[at]
            ascent = self._look(smallest, x_adv, bound, draws.at(step).take(at))
            now = smallest.threat.size(smallest.x[at], x_adv)
            fools = smallest.take_note(x_adv, ascent.logits)
            met = fools & (now <= bound.τ[at]) & (now < size[at])
            size[at[met]], start[at[met]] = now[met], x_adv[met]
            if not len(smallest.which):
                break
            g = -ascent.gradient
            mean[at] = _BETA1 * mean[at] + (1 - _BETA1) * g
            square[at] = _BETA2 * square[at] + (1 - _BETA2) * g**2
            m = mean[at] / (1 - _BETA1 ** (step + 1))
            v = square[at] / (1 - _BETA2 ** (step + 1))
            shown[at] = (shown[at] - rate[at] * m / (v.sqrt() + _EPSILON)).clamp(0.0, 1.0)
        bound.follow(start, size)

    def _look(
        self, smallest: MinimumNormSearch, x_adv: Tensor, bound: _Bound, draws: Draws
    ) -> Ascent:
        """The objective with its sign turned, to be raised, at iterates `(a, c, h, w)`."""
        at, target, is_goal = smallest.which, smallest.target, smallest.aim.is_goal
        x, c, τ = smallest.x[at], bound.c[at], bound.τ[at].view(-1, 1, 1, 1)
        classes, sign = smallest.aim.classes[at], -1 if is_goal else 1

        def objective(rows: Tensor, which: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
            logits = target.logits(rows, draws=draws)
            excess = ((rows - x[which]).abs() - τ[which]).clamp_min(0.0).flatten(1).sum(1)
            short = (self.confidence - sign * margin(logits, classes[which])).clamp_min(0.0)
            return -excess - c[which] * short, logits

        return target.ascend(x_adv, objective, draws=draws)

    def _refuse_arguments(self, classes: int) -> None:
        refuse_aim(self.name, self.target_class, classes=classes)
        if min(self.rounds, self.steps) < 1 or not (
            self.initial_const > 0 and self.step_size > 0 and self.confidence >= 0
        ):
            raise BenchError(
                f"attack {self.name!r} needs at least 1 round and step, an initial_const and a step_size above "
                f"0 and a confidence from 0 up; got {self.arguments()}"
            )


@dataclass(slots=True)
class _Bound:
    """What each image's next round holds it to."""

    start: Tensor
    """Where it starts, `(b, c, h, w)`."""
    τ: Tensor
    """The largest change that is free, `(b,)`."""
    c: Tensor
    """The weight of fooling, `(b,)`."""

    def follow(self, start: Tensor, size: Tensor) -> None:
        """Takes the smallest fooling images of a round and their sizes, infinite where there was none."""
        was_met = size.isfinite()
        self.start = start
        self.τ = torch.where(was_met, _SHRINK * size, self.τ)
        self.c = torch.where(was_met, self.c, _GROWTH * self.c)
