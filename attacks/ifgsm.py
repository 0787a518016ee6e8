"""IFGSM: k signed steps of eps / k from the image itself."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from benchmark.engine.attacking.attack import Attack, Passes
from benchmark.engine.attacking.search import Search, untargeted
from benchmark.engine.attacking.target import Target
from benchmark.engine.attacking.targeted import classes_for_aim, goal_of, passes_of_aim, refuse_aim
from benchmark.engine.randomness import Draws
from benchmark.engine.threat import Threat
from benchmark.errors import BenchError


@dataclass(kw_only=True, eq=False, repr=False)
class IFGSM(Attack):
    """Iterated FGSM, or BIM (Kurakin, Goodfellow and Bengio, "Adversarial examples in the physical world").

    (ICLR workshop 2017, section 2.2, and 2.3 for `target_class="least-likely"`.) Each of the k steps is eps / k
    long, as Liao et al. make HGD's images, so that the last one may reach the budget's rim. The last image
    counts, misclassified or not. In l2 the steps go along the unit gradient. The gradient is the mean over the
    target's EOT draws.

    Args:
        steps: k.
        labels: Away from the `true` label, or from the one `predicted` for the clean image, as HGD's authors
            do so that no label leaks into a training set; success is a wrong label all the same.
        target_class: A class to which all images are driven, those that belong to it to the class after it;
            `least-likely` or `random`, a wrong class for each image; None, away from the label. Success is
            still any wrong label.
    """

    name = "ifgsm"

    steps: int = 4
    labels: str = "true"
    target_class: int | str | None = None

    def perturb(
        self, target: Target, x: Tensor, y: Tensor, *, threat: Threat, draws: Draws
    ) -> Tensor:
        """One image for each, `(b, c, h, w)`."""
        refuse_aim(self.name, self.target_class, labels=self.labels, classes=target.classes)
        if self.steps < 1:
            raise BenchError(f"attack {self.name!r} needs at least 1 step; got steps={self.steps}")
        aim = goal_of(target, x, y, target_class=self.target_class, labels=self.labels, draws=draws)
        objective = untargeted(target, aim.classes, aim.loss())
        search = Search(target, x, y, draws=draws, puts_success_first=False)
        x_adv, size = x, threat.eps / self.steps
        for step in range(self.steps):
            ascent = search.look(x_adv, objective, 0, 0, step)
            search.offer(x_adv, ascent.logits, ascent.loss)
            x_adv = threat.project(x, x_adv + size * threat.direction(ascent.gradient))
        return x_adv

    def least_classes(self, *, stochastic: bool) -> int:
        """Those among which its target class is."""
        del stochastic
        return classes_for_aim(self.target_class)

    def passes(
        self, *, classes: int, eot: int, stochastic: bool, shape: tuple[int, int, int]
    ) -> Passes:
        """A look at each iterate from which a step is made."""
        del classes, stochastic, shape
        rows = self.steps * eot
        aim = passes_of_aim(self.target_class, labels=self.labels, eot=eot)
        return Passes(forwards=rows + aim, backwards=rows)
