"""PGD: many small projected steps along the gradient, averaged over draws where the victim is random."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from benchmark.engine.attacking.attack import Attack, Passes
from benchmark.engine.attacking.losses import (
    LOSSES,
    Loss,
    capped_margin,
    classes_for,
    margin,
    refuse_loss,
)
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

KEEPS = ("best", "last", "max_margin")
STEP_UNITS = ("eps", "pixel")


@dataclass(kw_only=True, eq=False, repr=False)
class PGD(Attack):
    """Projected gradient descent (Madry et al., "Towards deep learning models", ICLR 2018, section 2.1).

    With `steps=200, step_size=0.007, step_unit="pixel", random_start=False, keep="last"` and 20 EOT draws it is
    the attack of Lee and Kim, "Robust evaluation of diffusion-based adversarial purification" (ICCV 2023) at
    linf 8/255.

    Args:
        steps: Steps of each restart.
        step_size: Length of one step, in `step_unit`.
        step_unit: `eps` (a share of the budget) or `pixel` (in units of [0, 1]).
        loss: `ce`, `margin` or `dlr`.
        restarts: How often it starts anew; a deterministic victim's images keep the best of all restarts, a
            random one's get the candidates of each.
        random_start: Whether it starts from a random point of the budget instead of the image.
        keep: `best`: for a deterministic victim the misclassified iterate of highest margin, else that of
            highest loss, and images may leave once they are misclassified; for a random one two candidates,
            the last iterate and that of best mean loss. `last`: the last iterate, after exactly `steps`
            gradients. `max_margin`: the iterate whose mean logits have the highest margin, of full length;
            for images made for transfer.
        target_class: A class to which all images are driven, by lowering its cross-entropy; those that belong
            to it go to the class after it. `least-likely` or `random`: a wrong class for each image. None
            drives each away from its label. Success is still any wrong label.
        labels: Away from the `true` label, or from the one `predicted` for the clean image, as some papers'
            code does; success is a wrong label all the same.
        confidence: Kappa, in logit units, for loss `margin` alone: the margin is raised no further than this,
            so that the loss is Carlini and Wagner's f6, and the attack what papers call C&W under an linf
            budget (Madry et al., section 5). None raises it without end.
    """

    name = "pgd"

    steps: int = 40
    step_size: float = 0.1
    step_unit: str = "eps"
    loss: str = "ce"
    restarts: int = 1
    random_start: bool = True
    keep: str = "best"
    target_class: int | str | None = None
    labels: str = "true"
    confidence: float | None = None

    def perturb(
        self, target: Target, x: Tensor, y: Tensor, *, threat: Threat, draws: Draws
    ) -> Tensor:
        """One image for each `(b, 1, c, h, w)`, or the candidates of each restart `(b, m, c, h, w)`."""
        self._refuse_arguments(target.classes)
        is_random = target.victim.stochastic or target.eot > 1
        puts_success_first = self.keep == "best" and not is_random
        search = Search(target, x, y, draws=draws, puts_success_first=puts_success_first)
        aim = goal_of(target, x, y, target_class=self.target_class, labels=self.labels, draws=draws)
        candidates: list[Tensor] = []
        for restart in range(self.restarts):
            if is_random:
                search = Search(target, x, y, draws=draws, puts_success_first=False)
            if not len(search.which):
                break
            last = self._ascend(search, aim, threat, restart)
            if self.keep == "last" or (self.keep == "best" and is_random):
                candidates.append(last)
            if self.keep != "last" and is_random:
                candidates.append(search.best)
        if self.keep != "last" and not is_random:
            candidates.append(search.best)
        return torch.stack(candidates, dim=1)  # (b, m, c, h, w)

    def least_classes(self, *, stochastic: bool) -> int:
        """Those that its loss is defined with, its target class among them."""
        del stochastic
        return max(classes_for(self.loss), classes_for_aim(self.target_class))

    def passes(
        self, *, classes: int, eot: int, stochastic: bool, shape: tuple[int, int, int]
    ) -> Passes:
        """A look at each iterate from which a step is made, and at the last one where it may be the best."""
        del classes, shape
        is_random = stochastic or eot > 1
        looks = self.steps + (self.keep == "max_margin" or (self.keep == "best" and not is_random))
        candidates = 1
        if is_random or self.keep == "last":
            candidates = self.restarts * (2 if self.keep == "best" else 1)
        rows = self.restarts * looks * eot
        aim = passes_of_aim(self.target_class, labels=self.labels, eot=eot)
        return Passes(forwards=rows + aim, backwards=rows, candidates=candidates)

    def _ascend(self, search: Search, aim: Goal, threat: Threat, restart: int) -> Tensor:
        """One restart; returns the last iterates of those that stayed to the end."""
        x_adv = search.start(threat, restart) if self.random_start else search.x
        size = self.step_size * (threat.eps if self.step_unit == "eps" else 1.0)
        for step in range(self.steps):
            x_adv, gradient = self._look(search, aim, x_adv, (restart, 0, step))
            if not len(x_adv):
                return x_adv
            x_adv = threat.project(search.x, x_adv + size * threat.direction(gradient))
        if (
            self.keep == "max_margin" or search.puts_success_first
        ):  # the last iterate may be the best
            x_adv, _ = self._look(search, aim, x_adv, (restart, 0, self.steps))
        return x_adv

    def _look(
        self, search: Search, aim: Goal, x_adv: Tensor, place: tuple[int, int, int]
    ) -> tuple[Tensor, Tensor]:
        """Measures iterates and offers them; returns those that stay, with their gradients."""
        y = search.y
        objective = untargeted(search.target, aim.classes[search.which], aim.loss(self._loss()))
        is_evidence = self.confidence is None  # a capped loss is flat
        ascent = search.look(x_adv, objective, *place, is_evidence=is_evidence)
        value = ascent.loss
        if self.keep == "max_margin":
            value = margin(ascent.logits, y)
        elif search.puts_success_first:
            value = success_value(ascent.logits, y, ascent.loss)
        stays = search.offer(x_adv, ascent.logits, value)
        return x_adv[stays], ascent.gradient[stays]

    def _loss(self) -> Loss:
        if self.confidence is None:
            return LOSSES[self.loss]
        return partial(capped_margin, cap=self.confidence)

    def _refuse_arguments(self, classes: int) -> None:
        refuse_loss(self.name, self.loss, known=tuple(LOSSES), classes=classes)
        refuse_aim(self.name, self.target_class, labels=self.labels, classes=classes)
        for what, value, known in (
            ("keep", self.keep, KEEPS),
            ("step_unit", self.step_unit, STEP_UNITS),
        ):
            if value not in known:
                raise BenchError(
                    f"attack {self.name!r}: {what} is one of {', '.join(known)}; got {value!r}"
                )
        if self.target_class is not None and self.loss != "ce":
            raise BenchError(
                f"attack {self.name!r} drives images to a target_class by loss 'ce' alone; got loss "
                f"{self.loss!r}"
            )
        cap: object = self.confidence  # which no default's kind has checked
        is_cap = isinstance(cap, int | float) and cap >= 0
        if cap is not None and not (self.loss == "margin" and is_cap):
            raise BenchError(
                f"attack {self.name!r} takes a confidence from 0 up with loss 'margin' alone; got confidence "
                f"{cap!r} with loss {self.loss!r}"
            )
        if self.steps < 1 or self.restarts < 1 or not self.step_size > 0:
            raise BenchError(
                f"attack {self.name!r} needs at least 1 step, 1 restart and a step_size above 0; got "
                f"steps={self.steps}, restarts={self.restarts}, step_size={self.step_size}"
            )
