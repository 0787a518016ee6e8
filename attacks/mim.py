"""MIM: signed steps along a momentum of normalised gradients."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from benchmark.engine.attacking.attack import Attack, Passes
from benchmark.engine.attacking.search import Search, success_value, untargeted
from benchmark.engine.attacking.target import Target
from benchmark.engine.attacking.targeted import (
    Goal,
    classes_for_aim,
    goal_of,
    passes_of_aim,
    refuse_aim,
)
from benchmark.engine.randomness import Draws
from benchmark.engine.threat import Threat
from benchmark.errors import BenchError

KEEPS = ("best", "last")
STEP_UNITS = ("eps", "pixel")
_TINY = 1e-30
"""Keeps a gradient of 0 from being divided by its own length."""


@dataclass(kw_only=True, eq=False, repr=False)
class MIM(Attack):
    """Momentum iterative FGSM (Dong et al., "Boosting adversarial attacks with momentum", CVPR 2018).

    Algorithm 1: g <- decay * g + grad / |grad|_1 (equation 6), and a step along sign(g) (equation 7), or in l2
    along g / |g|_2, from the image itself. The gradient is the mean over the target's EOT draws.

    Args:
        steps: At most; Dong et al. take 10.
        step_size: Length of one step, in `step_unit`; Dong et al. take eps over the number of steps.
        step_unit: `eps` (a share of the budget) or `pixel` (in units of [0, 1]).
        decay: Mu, the weight of the gradients before; 0 leaves an iterated FGSM.
        keep: `last`: the last iterate, as published. `best`: for a deterministic victim the misclassified
            iterate of highest margin, else that of highest loss, and images may leave once they are
            misclassified; for a random one two candidates, the last iterate and that of best mean loss.
        target_class: A class to which all images are driven, those that belong to it to the class after it;
            `least-likely` or `random`, a wrong class for each image; None, away from the true label. Success is
            still any wrong label.
    """

    name = "mim"

    steps: int = 10
    step_size: float = 0.1
    step_unit: str = "eps"
    decay: float = 1.0
    keep: str = "best"
    target_class: int | str | None = None

    def perturb(
        self, target: Target, x: Tensor, y: Tensor, *, threat: Threat, draws: Draws
    ) -> Tensor:
        """One image for each `(b, 1, c, h, w)`, or a random victim's two candidates `(b, 2, c, h, w)`."""
        self._refuse_arguments(target.classes)
        aim = goal_of(target, x, y, target_class=self.target_class, draws=draws)
        is_random = target.victim.stochastic or target.eot > 1
        puts_success_first = self.keep == "best" and not is_random
        search = Search(target, x, y, draws=draws, puts_success_first=puts_success_first)
        last = self._climb(search, aim, threat)
        if self.keep == "last":
            return last.unsqueeze(1)
        candidates = [last, search.best] if is_random else [search.best]
        return torch.stack(candidates, dim=1)

    def least_classes(self, *, stochastic: bool) -> int:
        """Those among which its target class is."""
        del stochastic
        return classes_for_aim(self.target_class)

    def passes(
        self, *, classes: int, eot: int, stochastic: bool, shape: tuple[int, int, int]
    ) -> Passes:
        """A look at each iterate from which a step is made, and at the last one where it may be the best."""
        del classes, shape
        is_random = stochastic or eot > 1
        rows = (self.steps + (self.keep == "best" and not is_random)) * eot
        return Passes(
            forwards=rows + passes_of_aim(self.target_class, eot=eot),
            backwards=rows,
            candidates=2 if self.keep == "best" and is_random else 1,
        )

    def _climb(self, search: Search, aim: Goal, threat: Threat) -> Tensor:
        """All steps; returns the last iterates of those that stayed to the end."""
        size = self.step_size * (threat.eps if self.step_unit == "eps" else 1.0)
        x_adv, g = search.x, torch.zeros_like(search.x)
        for step in range(self.steps):
            stays, gradient = self._look(search, aim, x_adv, step)
            if not len(search.which):
                return x_adv[stays]
            g = self.decay * g[stays] + _of_length_1(gradient[stays])
            x_adv = threat.project(search.x, x_adv[stays] + size * threat.direction(g))
        if search.puts_success_first:  # the last iterate may be the best
            self._look(search, aim, x_adv, self.steps)
        return x_adv

    def _look(self, search: Search, aim: Goal, x_adv: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """Measures iterates and offers them; who stays `(a,)`, and all their gradients `(a, c, h, w)`."""
        objective = untargeted(search.target, aim.classes[search.which], aim.loss())
        ascent = search.look(x_adv, objective, 0, 0, step)
        value = ascent.loss
        if search.puts_success_first:
            value = success_value(ascent.logits, search.y, ascent.loss)
        return search.offer(x_adv, ascent.logits, value), ascent.gradient

    def _refuse_arguments(self, classes: int) -> None:
        refuse_aim(self.name, self.target_class, classes=classes)
        for what, value, known in (
            ("keep", self.keep, KEEPS),
            ("step_unit", self.step_unit, STEP_UNITS),
        ):
            if value not in known:
                raise BenchError(
                    f"attack {self.name!r}: {what} is one of {', '.join(known)}; got {value!r}"
                )
        if self.steps < 1 or not (self.step_size > 0 and self.decay >= 0):
            raise BenchError(
                f"attack {self.name!r} needs at least 1 step, a step_size above 0 and a decay from 0 up; got "
                f"steps={self.steps}, step_size={self.step_size}, decay={self.decay}"
            )


def _of_length_1(gradient: Tensor) -> Tensor:
    """Gradients `(a, c, h, w)` over their l1 norm."""
    length = gradient.flatten(1).abs().sum(1).clamp_min(_TINY)
    return gradient / length.view(-1, 1, 1, 1)
