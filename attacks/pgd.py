"""PGD: many small projected steps along the gradient, averaged over draws where the victim is random."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmark.attack import Attack, Passes
from benchmark.errors import BenchError
from benchmark.losses import LOSSES, cross_entropy, margin, refuse_loss
from benchmark.randomness import Draws
from benchmark.search import Search, success_value, untargeted
from benchmark.target import Objective, Target
from benchmark.threat import Threat

KEEPS = ("best", "last", "max_margin")
STEP_UNITS = ("eps", "pixel")


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
            to it go to the class after it. None drives each away from its true label. Success is still any
            wrong label.
    """

    name = "pgd"
    summary = "projected gradient descent, EOT in one batch (Madry et al. 2018)"

    def __init__(
        self,
        *,
        steps: int = 40,
        step_size: float = 0.1,
        step_unit: str = "eps",
        loss: str = "ce",
        restarts: int = 1,
        random_start: bool = True,
        keep: str = "best",
        target_class: int | None = None,
    ) -> None:
        self.steps = steps
        self.step_size = step_size
        self.step_unit = step_unit
        self.loss = loss
        self.restarts = restarts
        self.random_start = random_start
        self.keep = keep
        self.target_class = target_class

    def perturb(
        self, target: Target, x: Tensor, y: Tensor, *, threat: Threat, draws: Draws
    ) -> Tensor:
        """One image for each `(b, 1, c, h, w)`, or the candidates of each restart `(b, m, c, h, w)`."""
        self._refuse_arguments(target.classes)
        is_random = target.victim.stochastic or target.eot > 1
        puts_success_first = self.keep == "best" and not is_random
        search = Search(target, x, y, draws=draws, puts_success_first=puts_success_first)
        candidates: list[Tensor] = []
        for restart in range(self.restarts):
            if is_random:
                search = Search(target, x, y, draws=draws, puts_success_first=False)
            if not len(search.which):
                break
            last = self._ascend(search, threat, restart)
            if self.keep == "last" or (self.keep == "best" and is_random):
                candidates.append(last)
            if self.keep != "last" and is_random:
                candidates.append(search.best)
        if self.keep != "last" and not is_random:
            candidates.append(search.best)
        return torch.stack(candidates, dim=1)  # (b, m, c, h, w)

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
        return Passes(forwards=rows, backwards=rows, candidates=candidates)

    def _ascend(self, search: Search, threat: Threat, restart: int) -> Tensor:
        """One restart; returns the last iterates of those that stayed to the end."""
        x_adv = search.start(threat, restart) if self.random_start else search.x
        size = self.step_size * (threat.eps if self.step_unit == "eps" else 1.0)
        for step in range(self.steps):
            x_adv, gradient = self._look(search, x_adv, restart, step)
            if not len(x_adv):
                return x_adv
            x_adv = threat.project(search.x, x_adv + size * threat.direction(gradient))
        if (
            self.keep == "max_margin" or search.puts_success_first
        ):  # the last iterate may be the best
            x_adv, _ = self._look(search, x_adv, restart, self.steps)
        return x_adv

    def _look(
        self, search: Search, x_adv: Tensor, restart: int, step: int
    ) -> tuple[Tensor, Tensor]:
        """Measures iterates and offers them; returns those that stay, with their gradients."""
        y = search.y
        objective = self._objective(search)
        ascent = search.look(x_adv, objective, restart, 0, step)
        value = ascent.loss
        if self.keep == "max_margin":
            value = margin(ascent.logits, y)
        elif search.puts_success_first:
            value = success_value(ascent.logits, y, ascent.loss)
        stays = search.offer(x_adv, ascent.logits, value)
        return x_adv[stays], ascent.gradient[stays]

    def _objective(self, search: Search) -> Objective:
        """What is raised: the loss of the true labels, or minus the cross-entropy of the target class."""
        target, y = search.target, search.y
        if self.target_class is None:
            return untargeted(target, y, LOSSES[self.loss])
        goal = torch.full_like(y, self.target_class)
        goal = torch.where(y == goal, (goal + 1) % target.classes, goal)

        def towards(logits: Tensor, goals: Tensor) -> Tensor:
            return -cross_entropy(logits, goals)

        return untargeted(target, goal, towards)

    def _refuse_arguments(self, classes: int) -> None:
        refuse_loss(self.name, self.loss, known=tuple(LOSSES), classes=classes)
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
        if self.target_class is not None and self.target_class not in range(classes):
            raise BenchError(
                f"attack {self.name!r}: target_class is one of 0 to {classes - 1}; got {self.target_class!r}"
            )
        if self.steps < 1 or self.restarts < 1 or not self.step_size > 0:
            raise BenchError(
                f"attack {self.name!r} needs at least 1 step, 1 restart and a step_size above 0; got "
                f"steps={self.steps}, restarts={self.restarts}, step_size={self.step_size}"
            )
