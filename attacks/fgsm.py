"""FGSM: one step of the whole budget along the gradient."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from benchmark.engine.attacking.attack import Attack, Passes
from benchmark.engine.attacking.losses import LOSSES, classes_for, refuse_loss
from benchmark.engine.attacking.search import Search, untargeted
from benchmark.engine.attacking.target import Target
from benchmark.engine.randomness import Draws
from benchmark.engine.threat import Threat


@dataclass(kw_only=True, eq=False, repr=False)
class FGSM(Attack):
    """One step of eps (Goodfellow, Shlens and Szegedy, "Explaining and harnessing", ICLR 2015, section 4).

    In l2 the step goes along the unit gradient. The gradient is the mean over the target's EOT draws.

    Args:
        loss: `ce`, `margin` or `dlr`.
        random_start: Whether it starts from a random point of the budget (Wong, Rice and Kolter, "Fast is
            better than free", ICLR 2020) instead of the image.
    """

    name = "fgsm"

    loss: str = "ce"
    random_start: bool = False

    def perturb(
        self, target: Target, x: Tensor, y: Tensor, *, threat: Threat, draws: Draws
    ) -> Tensor:
        """One image for each, `(b, c, h, w)`."""
        refuse_loss(self.name, self.loss, known=tuple(LOSSES), classes=target.classes)
        search = Search(target, x, y, draws=draws, puts_success_first=False)
        x_adv = search.start(threat, 0) if self.random_start else x
        ascent = search.look(x_adv, untargeted(target, y, LOSSES[self.loss]), 0, 0, 0)
        search.offer(x_adv, ascent.logits, ascent.loss)
        return threat.project(x, x_adv + threat.eps * threat.direction(ascent.gradient))

    def least_classes(self, *, stochastic: bool) -> int:
        """Those that its loss is defined with."""
        del stochastic
        return classes_for(self.loss)

    def passes(
        self, *, classes: int, eot: int, stochastic: bool, shape: tuple[int, int, int]
    ) -> Passes:
        """One look."""
        del classes, stochastic, shape
        return Passes(forwards=eot, backwards=eot)
