"""Minimum-norm attacks: what searches for the smallest change that fools share, under a budget."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass

import torch
from torch import Tensor

from benchmark.engine.attacking.attack import Attack, Passes
from benchmark.engine.attacking.losses import margin
from benchmark.engine.attacking.rim import on_the_rim
from benchmark.engine.attacking.target import Ascent, Target
from benchmark.engine.attacking.targeted import (
    Goal,
    classes_for_aim,
    goal_of,
    passes_of_aim,
    refuse_aim,
)
from benchmark.engine.randomness import Draws
from benchmark.engine.threat import Threat

_NOTHING, _OUTSIDE, _WRONG_INSIDE, _FOUND_INSIDE = range(4)


class MinimumNormAttack(Attack):
    """A search for the smallest change; an attack has fields of these names where it leaves the choice."""

    target_class: int | str | None = None
    confidence: float = 0.0

    @property
    @abstractmethod
    def looks(self) -> int:
        """Gradients taken at an image that never leaves."""

    @abstractmethod
    def search(self, found: MinimumNormSearch, draws: Draws) -> None:
        """Looks at iterates and has them noted."""

    @abstractmethod
    def _refuse_arguments(self) -> None:
        """Refuses what its arguments may not be."""

    def perturb(
        self, target: Target, x: Tensor, y: Tensor, *, threat: Threat, draws: Draws
    ) -> Tensor:
        """One image for each `(b, 1, c, h, w)`, or a random victim's two candidates `(b, 2, c, h, w)`."""
        refuse_aim(self.name, self.target_class, classes=target.classes)
        self._refuse_arguments()
        aim = goal_of(target, x, y, target_class=self.target_class, draws=draws)
        found = MinimumNormSearch(target, x, y, threat, aim=aim, confidence=self.confidence)
        self.search(found, draws)
        return found.images()

    def least_classes(self, **_: object) -> int:
        """Those among which its target class is."""
        return classes_for_aim(self.target_class)

    def passes(self, *, eot: int, stochastic: bool, **_: object) -> Passes:
        """A look at every iterate but the last of each search."""
        rows = self.looks * eot
        return Passes(
            forwards=rows + passes_of_aim(self.target_class, eot=eot),
            backwards=rows,
            candidates=2 if stochastic or eot > 1 else 1,
        )


@dataclass(eq=False, repr=False)
class MinimumNormSearch:
    """The best image of each in a search for the smallest change, and who is still attacked.

    An iterate is a find where it is misclassified, or, towards a goal, where it reaches the goal; in both cases
    by more than the confidence. From the best: a find inside the budget; an iterate inside it that any wrong
    label makes a success, though it is no find; a find outside it; any other. Of two finds or successes the
    smaller change is the better one, of two others that of higher margin.

    Args:
        target: The victim.
        x: Clean images `(b, c, h, w)`.
        y: True labels `(b,)`.
        threat: The budget.
        aim: Where the images are driven.
        confidence: In logit units.
    """

    target: Target
    x: Tensor
    y: Tensor
    threat: Threat
    _: KW_ONLY
    aim: Goal
    confidence: float = 0.0

    def __post_init__(self) -> None:
        self.best = self.x.clone()
        self.which = torch.arange(len(self.x), device=self.x.device)
        """Positions `(a,)` of those still attacked."""
        self._rank = torch.zeros_like(self.y)
        self._value = self.x.new_full((len(self.x),), float("-inf"))
        """Minus the size of the change, or the margin of one that is no success, `(b,)`."""

    def look(
        self,
        x_adv: Tensor,
        draws: Draws,
        *,
        weight: Tensor,
        size: Callable[[Tensor, Tensor], Tensor],
    ) -> Ascent:
        """C&W's objective with its sign turned, to be raised: minus a size, minus what is short of fooling.

        Args:
            x_adv: Iterates `(a, c, h, w)` of those still attacked.
            draws: Of all images, at a place.
            weight: Of fooling, `(b,)`.
            size: Of the changes that make rows `(r, c, h, w)` of images at positions `(r,)`, `(r,)`.
        """
        at, target = self.which, self.target
        classes, sign = self.aim.classes, -1 if self.aim.is_goal else 1

        def objective(rows: Tensor, which: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
            which = at[which]
            logits = target.logits(rows, draws=draws)
            short = (self.confidence - sign * margin(logits, classes[which])).clamp_min(0.0)
            return -size(rows, which) - weight[which] * short, logits

        return target.ascend(x_adv, objective, draws=draws.take(at))

    def take_note(self, x_adv: Tensor, logits: Tensor) -> Tensor:
        """Notes iterates, marks the trace, and lets images leave that have a success inside the budget.

        Args:
            x_adv: Iterates `(a, c, h, w)` of those still attacked, inside [0, 1].
            logits: At them, `(a, k)`.

        Returns:
            Which of them are finds, `(a,)`.
        """
        at = self.which
        gap = margin(logits, self.y[at])
        reached = -margin(logits, self.aim.classes[at]) if self.aim.is_goal else gap
        found, size = reached > self.confidence, self.threat.size(self.x[at], x_adv)
        is_inside = size <= self.threat.eps
        rank = torch.where(found, _OUTSIDE, _NOTHING)
        rank[is_inside & (gap > 0)] = _WRONG_INSIDE
        rank[is_inside & found] = _FOUND_INSIDE
        value = torch.where(rank == _NOTHING, gap, -size)
        better = (rank > self._rank[at]) | ((rank == self._rank[at]) & (value > self._value[at]))
        chosen = at[better]
        self.best[chosen] = x_adv[better]
        self._rank[chosen], self._value[chosen] = rank[better], value[better]
        succeeds = self._rank >= _WRONG_INSIDE
        self.target.mark(1.0 - float(succeeds.double().mean()))
        if self.target.leaves_early:
            self.which = at[~succeeds[at]]
        return found

    def images(self) -> Tensor:
        """The best image of each `(b, 1, c, h, w)`; one outside the budget is moved into it.

        Of a random victim also the same change made as long as the budget allows, `(b, 2, c, h, w)`: just
        across a boundary every second draw is still right.
        """
        best = self.threat.project(self.x, self.best)
        if not self.target.is_random:
            return best.unsqueeze(1)
        return torch.stack((best, on_the_rim(self.x, self.best, self.threat)), dim=1)
