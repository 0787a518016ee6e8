"""Auxiliary-aware PGD: fools the classifier while it keeps the purifier inert."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmark.engine.attacking.attack import Attack, Passes
from benchmark.engine.attacking.losses import capped_margin, cross_entropy, margin
from benchmark.engine.attacking.search import Search
from benchmark.engine.attacking.target import Ascent, Target
from benchmark.engine.randomness import Draws
from benchmark.engine.threat import Threat
from benchmark.errors import BenchError

VARIANTS = ("A1", "A2")
FORMS = ("balanced", "raw")
LAMBDAS = (0.0, 0.1, 0.5, 1.0, 2.0, 5.0, 10.0)
_FLAT = 1e-30
"""A mean absolute gradient below this counts as 0, so that no ratio overflows."""


@dataclass(kw_only=True, eq=False, repr=False)
class AuxiliaryAware(Attack):
    """PGD on a main term minus lambda times the purifiers' auxiliary loss.

    (Hwang et al., "AID-Purifier", 2021, equation 1; SOAP's authors attack likewise.) The main term is a capped
    margin instead of their cross-entropy, so that an image that is wrong enough spends its steps on the
    purifier. Lambda multiplies |grad main| / |grad auxiliary| (mean absolute values, for each image, where it
    starts), because the two scales differ by orders of magnitude; where the auxiliary gradient is 0 the term is
    dropped. Each image gets for each lambda the iterate that is misclassified by the main term's logits, if
    any, and among those the one of highest objective.

    Args:
        variant: `A1`, main term on the bare classifier, as published; `A2`, through the victim, by its gradient
            mode. A1 never sees the victim's verdict, so its images never leave early.
        form: `balanced`, as above; `raw`, equation 1 as printed: cross-entropy minus lambda times the auxiliary
            loss, each as it is, and nothing capped.
        lambdas: The grid; one candidate for each.
        steps: Steps for each lambda.
        step_size: Length of one step, as a share of eps.
        cap: The balanced main term's highest value at each draw, in logit units. Far below the spread of a
            random victim's margins it stops the attack too soon.
        projection: Instead of the grid, one candidate by two gradients taken apart: while the margin is below
            the cap the step follows the main gradient, else it lowers the auxiliary loss orthogonally to the
            main gradient (after Bryniarski et al., "Evading adversarial example detection defenses with
            orthogonal projected gradient descent", ICLR 2022; below the cap they too step orthogonally, which
            stops short of the boundary of a linear problem).
        random_start: Whether it starts from a random point of the budget instead of the image.
    """

    name = "auxiliary"

    variant: str = "A2"
    form: str = "balanced"
    lambdas: Sequence[float] = LAMBDAS
    steps: int = 40
    step_size: float = 0.1
    cap: float = 10.0
    projection: bool = False
    random_start: bool = True

    def perturb(
        self, target: Target, x: Tensor, y: Tensor, *, threat: Threat, draws: Draws
    ) -> Tensor:
        """A candidate for each lambda, or one with `projection`, `(b, m, c, h, w)`."""
        self._refuse_arguments()
        candidates: list[Tensor] = []
        search: Search | None = None
        for number in range(1 if self.projection else len(self.lambdas)):
            search = Search(target, x, y, draws=draws, puts_success_first=True, follows=search)
            search.leaves_early &= self.variant == "A2"
            if len(search.which):
                self._ascend(search, threat, number)
            candidates.append(search.best)
        return torch.stack(candidates, dim=1)

    def passes(self, *, eot: int, **_: object) -> Passes:
        """For each lambda a look at every iterate, and two more where the scales are balanced."""
        looks, weighted = self.steps + 1, sum(weight != 0 for weight in self.lambdas)
        balanced = weighted if self.form == "balanced" else 0
        main, apart, auxiliary = looks * len(self.lambdas), balanced, weighted * looks
        if self.projection:
            main, apart, auxiliary = 0, looks, 0
        return Passes(
            forwards=(main + apart) * eot,
            backwards=(main + 2 * apart) * eot,
            auxiliary=(auxiliary + apart) * eot,
            candidates=1 if self.projection else len(self.lambdas),
            on_bare=self.variant == "A1",
        )

    def _ascend(self, search: Search, threat: Threat, number: int) -> None:
        x_adv = search.start(threat, 0) if self.random_start else search.x
        weight = torch.zeros_like(search.y, dtype=x_adv.dtype)
        if not self.projection and self.lambdas[number]:
            scale = self._balance(search, x_adv, number) if self.form == "balanced" else 1.0
            weight = weight + self.lambdas[number] * scale
        for step in range(self.steps + 1):
            look = self._look_apart if self.projection else self._look
            direction, logits, value = look(search, x_adv, weight, (0, number, step))
            stays = search.offer(x_adv, logits, value)
            if step == self.steps or not len(search.which):
                return
            x_adv, direction, weight = x_adv[stays], direction[stays], weight[stays]
            size = self.step_size * threat.eps
            x_adv = threat.project(search.x, x_adv + size * threat.direction(direction))

    def _look(
        self, search: Search, x_adv: Tensor, weight: Tensor, place: tuple[int, ...]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Gradient `(a, c, h, w)` of the weighted objective, main logits, and its value `(a,)`."""
        y = search.y

        def objective(rows: Tensor, which: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
            logits = self._logits(search.target, rows, draws)
            if self.form == "raw":
                loss = cross_entropy(logits, y[which])
            else:
                loss = capped_margin(logits, y[which], cap=self.cap)
            if weight.any():
                auxiliary = search.target.auxiliary_loss(rows, draws=draws)
                loss = loss - weight[which] * auxiliary
            return loss, logits

        ascent = search.look(x_adv, objective, *place, is_evidence=False)
        return ascent.gradient, ascent.logits, ascent.loss

    def _look_apart(
        self, search: Search, x_adv: Tensor, weight: Tensor, place: tuple[int, ...]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The projection's direction, main logits, and value: the margin, above the cap the calmer one."""
        del weight
        main, auxiliary = self._both(search, x_adv, place)
        gap = margin(main.logits, search.y)
        is_done = gap >= self.cap
        g, h = main.gradient, auxiliary.gradient
        calm = _dot(h, g) / _dot(g, g).clamp_min(_FLAT) * g - h
        direction = torch.where(is_done.view(-1, 1, 1, 1), calm, g)
        calmness = 1 / (1 + auxiliary.loss.clamp_min(0))  # in (0, 1]
        return direction, main.logits, torch.where(is_done, self.cap + calmness, gap)

    def _balance(self, search: Search, x_adv: Tensor, number: int) -> Tensor:
        """|grad main| / |grad auxiliary| of each image, `(a,)`; 0 where the auxiliary one is flat."""
        main, auxiliary = self._both(search, x_adv, (0, number, "balance"))
        above = main.gradient.flatten(1).abs().mean(1)
        below = auxiliary.gradient.flatten(1).abs().mean(1)
        return torch.where(below > _FLAT, above / below, 0.0)

    def _both(
        self, search: Search, x_adv: Tensor, place: tuple[int | str, ...]
    ) -> tuple[Ascent, Ascent]:
        """The uncapped margin and the auxiliary loss, each with its own gradient."""
        target, y = search.target, search.y

        def main(rows: Tensor, which: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
            logits = self._logits(target, rows, draws)
            return margin(logits, y[which]), logits

        def auxiliary(rows: Tensor, which: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
            del which
            loss = target.auxiliary_loss(rows, draws=draws)
            loss = loss + 0.0 * rows.flatten(1).sum(1)  # a purifier may have none at all
            return loss, rows.new_zeros(len(rows), target.classes)

        return (
            search.look(x_adv, main, *place),
            search.look(x_adv, auxiliary, *place, is_evidence=False),
        )

    def _logits(self, target: Target, rows: Tensor, draws: Draws) -> Tensor:
        if self.variant == "A1":
            return target.bare_logits(rows)
        return target.logits(rows, draws=draws)

    def _refuse_arguments(self) -> None:
        self._require_choice(variant=VARIANTS, form=FORMS)
        if self.projection and self.form == "raw":
            raise BenchError(
                f"attack {self.name!r} has no lambda with projection, and so no form 'raw': leave one out"
            )
        is_fit = self.steps >= 1 and len(self.lambdas) > 0 and not min(self.lambdas) < 0
        self._require(is_fit, "at least 1 step and lambdas of at least 0", "steps", "lambdas")


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).flatten(1).sum(1).view(-1, 1, 1, 1)
