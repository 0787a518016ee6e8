"""Steps of one length along the gradient: the loop of the attacks from FGSM to PGD, and what it costs."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from benchmark.engine.attacking.attack import Attack, Passes
from benchmark.engine.attacking.losses import (
    LOSSES,
    capped_margin,
    classes_for,
    margin,
    refuse_loss,
)
from benchmark.engine.attacking.search import Search, untargeted
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

STEP_UNITS = ("eps", "pixel")
_TINY = 1e-30
"""Keeps a gradient of 0 from being divided by its own length."""


class GradientSteps(Attack):
    """An attack by projected steps along the gradient, or along a momentum of gradients.

    The values here are those of a single step of eps; an attack has fields of the same names where it leaves
    the choice.

    Args:
        steps: Steps of each restart.
        step_size: Length of one step, in `step_unit`.
        step_unit: `eps` (a share of the budget) or `pixel` (in units of [0, 1]).
        loss: `ce`, `margin`, `dlr` or `pm`.
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
        decay: Mu, the weight of the gradients before: a step goes along g <- decay * g + grad / |grad|_1. None
            for steps along the gradient alone.
    """

    keeps: ClassVar[tuple[str, ...]] = ("best", "last")

    steps: int = 1
    step_size: float = 1.0
    step_unit: str = "eps"
    loss: str = "ce"
    restarts: int = 1
    random_start: bool = False
    keep: str = "last"
    target_class: int | str | None = None
    labels: str = "true"
    confidence: float | None = None
    decay: float | None = None

    def perturb(
        self, target: Target, x: Tensor, y: Tensor, *, threat: Threat, draws: Draws
    ) -> Tensor:
        """One image for each `(b, 1, c, h, w)`, or the candidates of each restart `(b, m, c, h, w)`."""
        refuse_loss(self.name, self.loss, known=tuple(LOSSES), classes=target.classes)
        refuse_aim(self.name, self.target_class, labels=self.labels, classes=target.classes)
        self._require_choice(keep=self.keeps, step_unit=STEP_UNITS)
        self._refuse_arguments()
        puts_success_first = self.keep == "best" and not target.is_random
        search = Search(target, x, y, draws=draws, puts_success_first=puts_success_first)
        aim = goal_of(target, x, y, target_class=self.target_class, labels=self.labels, draws=draws)
        candidates: list[Tensor] = []
        for restart in range(self.restarts):
            if target.is_random:
                search = Search(target, x, y, draws=draws, puts_success_first=False)
            if not len(search.which):
                break
            last = self._ascend(search, aim, threat, restart)
            if self.keep == "last" or (self.keep == "best" and target.is_random):
                candidates.append(last)
            if self.keep != "last" and target.is_random:
                candidates.append(search.best)
        if self.keep != "last" and not target.is_random:
            candidates.append(search.best)
        return torch.stack(candidates, dim=1)  # (b, m, c, h, w)

    def least_classes(self, **_: object) -> int:
        """Those that its loss is defined with, its target class among them."""
        return max(classes_for(self.loss), classes_for_aim(self.target_class))

    def passes(self, *, eot: int, stochastic: bool, **_: object) -> Passes:
        """A look at each iterate from which a step is made, and at the last one where it may be the best."""
        is_random = stochastic or eot > 1
        looks = self.steps + (self.keep == "max_margin" or (self.keep == "best" and not is_random))
        candidates = 1
        if is_random or self.keep == "last":
            candidates = self.restarts * (2 if self.keep == "best" else 1)
        rows = self.restarts * looks * eot
        aim = passes_of_aim(self.target_class, labels=self.labels, eot=eot)
        return Passes(forwards=rows + aim, backwards=rows, candidates=candidates)

    def _refuse_arguments(self) -> None:
        """Refuses what its own arguments may not be."""

    def _length(self, eps: float) -> float:
        """Of one step, in pixel units."""
        return self.step_size * (eps if self.step_unit == "eps" else 1.0)

    def _ascend(self, search: Search, aim: Goal, threat: Threat, restart: int) -> Tensor:
        """One restart; returns the last iterates of those that stayed to the end."""
        x_adv = search.start(threat, restart) if self.random_start else search.x
        g, length = torch.zeros_like(x_adv), self._length(threat.eps)
        for step in range(self.steps):
            stays, gradient = self._look(search, aim, x_adv, (restart, 0, step))
            x_adv, g = x_adv[stays], g[stays]
            if not len(x_adv):
                return x_adv
            g = gradient if self.decay is None else self.decay * g + _of_length_1(gradient)
            x_adv = threat.project(search.x, x_adv + length * threat.direction(g))
        if self.keep == "max_margin" or search.puts_success_first:
            # the last iterate may be the best
            stays, _ = self._look(search, aim, x_adv, (restart, 0, self.steps))
            x_adv = x_adv[stays]
        return x_adv

    def _look(
        self, search: Search, aim: Goal, x_adv: Tensor, place: tuple[int, int, int]
    ) -> tuple[Tensor, Tensor]:
        """Measures iterates and offers them; says which stay, with the gradients of those."""
        loss = LOSSES[self.loss]
        if self.confidence is not None:
            loss = partial(capped_margin, cap=self.confidence)
        objective = untargeted(search.target, aim.classes[search.which], aim.loss(loss))
        is_evidence = self.confidence is None  # a capped loss is flat
        ascent = search.look(x_adv, objective, *place, is_evidence=is_evidence)
        if self.keep == "max_margin":
            stays = search.offer(x_adv, ascent.logits, margin(ascent.logits, search.y))
        else:
            stays = search.consider(x_adv, ascent)
        return stays, ascent.gradient[stays]


def _of_length_1(gradient: Tensor) -> Tensor:
    """Gradients `(a, c, h, w)` over their l1 norm."""
    length = gradient.flatten(1).abs().sum(1).clamp_min(_TINY)
    return gradient / length.view(-1, 1, 1, 1)
