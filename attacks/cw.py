"""C&W: the smallest l2 change that fools, by Adam in tanh space, for several weights of fooling."""

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

_INSIDE = 1 - 1e-6
"""Keeps pixels of 0 and 1 off the infinite ends of tanh space."""
_GROWTH = 10.0
"""By how much the constant grows as long as nothing has fooled."""
_BETA1, _BETA2, _EPSILON = 0.9, 0.999, 1e-8


@dataclass(kw_only=True, eq=False, repr=False)
class CW(Attack):
    """Carlini and Wagner's l2 attack ("Towards evaluating the robustness", S&P 2017, sections V and VI.A).

    It minimises `|x' - x|^2 + c * max(Z_y - max_other Z + kappa, 0)` over w, with `x' = (tanh(w) + 1) / 2`,
    and looks for the smallest c that fools. Each image gets the misclassified iterate of smallest change; where
    that is larger than eps it is moved into the budget, and no longer fools. An image that was never fooled
    gets the iterate of highest margin. Where images may leave, one does once it is fooled inside the budget.
    A random victim's images get that one, and the same change as long as the budget allows. For l2 threats
    only.

    Args:
        steps: Of Adam, for each c.
        binary_search_steps: How many c are tried.
        initial_const: The first c.
        step_size: Of Adam, in tanh space, where pixels of 0 and 1 begin 7.3 from the middle: with few or small
            steps they do not move.
        confidence: Kappa, in logit units.
        target_class: A class to which all images are driven, those that belong to it to the class after it;
            `least-likely` or `random`, a wrong class for each image; None, any class but the true one. Towards
            a class the search is for the smallest change that reaches it, as Carlini and Wagner measure; an
            iterate inside the budget that meets another wrong class counts where none reaches the goal there.
    """

    name = "cw"
    norms = frozenset({Norm.L2})

    steps: int = 200
    binary_search_steps: int = 9
    initial_const: float = 1e-3
    step_size: float = 0.01
    confidence: float = 0.0
    target_class: int | str | None = None

    def perturb(
        self, target: Target, x: Tensor, y: Tensor, *, threat: Threat, draws: Draws
    ) -> Tensor:
        """One image for each `(b, 1, c, h, w)`, or a random victim's two candidates `(b, 2, c, h, w)`."""
        self._refuse_arguments(target.classes)
        aim = goal_of(target, x, y, target_class=self.target_class, draws=draws)
        found = MinimumNormSearch(target, x, y, threat, aim=aim, confidence=self.confidence)
        bounds = x.new_zeros(len(x)), x.new_full((len(x),), float("inf"))
        c = x.new_full((len(x),), self.initial_const)
        for number in range(self.binary_search_steps):
            if not len(found.which):
                break
            is_fooled = self._descend(found, c, draws.at("eot", number))
            c = _next_constant(c, bounds, is_fooled)
        return found.images()

    def least_classes(self, **_: object) -> int:
        """Those among which its target class is."""
        return classes_for_aim(self.target_class)

    def passes(self, *, eot: int, stochastic: bool, **_: object) -> Passes:
        """A look at every iterate but the last of each c."""
        looks = self.binary_search_steps * self.steps
        aim = self.target_class
        return passes_of_looks(looks, target_class=aim, eot=eot, stochastic=stochastic)

    def _descend(self, found: MinimumNormSearch, c: Tensor, draws: Draws) -> Tensor:
        """Adam for one c of each image `(b,)`; returns which images `(b,)` it fooled."""
        is_fooled = torch.zeros_like(found.y, dtype=torch.bool)
        w = torch.atanh((2 * found.x - 1) * _INSIDE)
        mean, square = torch.zeros_like(w), torch.zeros_like(w)
        for step in range(self.steps):
            at = found.which
            tanh = w[at].tanh()
            x_adv = (tanh + 1) / 2
            ascent = self._look(found, x_adv, c[at], draws.at(step).take(at))
            is_fooled[at] |= found.take_note(x_adv, ascent.logits)
            if not len(found.which):
                break
            g = -ascent.gradient * (1 - tanh**2) / 2
            mean[at] = _BETA1 * mean[at] + (1 - _BETA1) * g
            square[at] = _BETA2 * square[at] + (1 - _BETA2) * g**2
            m = mean[at] / (1 - _BETA1 ** (step + 1))
            v = square[at] / (1 - _BETA2 ** (step + 1))
            w[at] -= self.step_size * m / (v.sqrt() + _EPSILON)
        return is_fooled

    def _look(self, found: MinimumNormSearch, x_adv: Tensor, c: Tensor, draws: Draws) -> Ascent:
        """The objective with its sign turned, to be raised, at iterates `(a, c, h, w)`."""
        x, target = found.x[found.which], found.target
        classes, sign = found.aim.classes[found.which], -1 if found.aim.is_goal else 1

        def objective(rows: Tensor, which: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
            logits = target.logits(rows, draws=draws)
            distance = (rows - x[which]).square().flatten(1).sum(1)
            short = (self.confidence - sign * margin(logits, classes[which])).clamp_min(0.0)
            return -distance - c[which] * short, logits

        return target.ascend(x_adv, objective, draws=draws)

    def _refuse_arguments(self, classes: int) -> None:
        refuse_aim(self.name, self.target_class, classes=classes)
        if min(self.steps, self.binary_search_steps) < 1 or not (
            self.initial_const > 0 and self.step_size > 0 and self.confidence >= 0
        ):
            raise BenchError(
                f"attack {self.name!r} needs at least 1 step and binary search step, an initial_const and a "
                f"step_size above 0 and a confidence from 0 up; got {self.arguments()}"
            )


def _next_constant(c: Tensor, bounds: tuple[Tensor, Tensor], is_fooled: Tensor) -> Tensor:
    """Halves the interval between the constants that fool and those that do not; narrows `bounds` in place."""
    low, high = bounds
    low[~is_fooled] = c[~is_fooled]
    high[is_fooled] = c[is_fooled]
    return torch.where(high.isinf(), c * _GROWTH, (low + high) / 2)
