"""Walks by labels alone: where the images of a batch stand on the boundary, and the nearest of each so far."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from benchmark.engine.attacking.queries import Oracle, find_starts, to_boundary
from benchmark.engine.attacking.rim import on_the_rim
from benchmark.engine.attacking.target import Target
from benchmark.engine.randomness import Draws
from benchmark.engine.threat import Threat

_LOST = "some images found no misclassified starting point"


class LabelWalk:
    """Where each image of a batch stands on the boundary, from a misclassified start.

    Args:
        target: The victim.
        x: Clean images `(b, c, h, w)`.
        y: True labels `(b,)`.
        threat: The budget.
        draws: Of the b images.
        k: Labels of a random victim for one answer.
    """

    first: ClassVar[tuple[str, ...]] = ()
    """The place of the first bisection's draws."""

    def __init__(
        self, target: Target, x: Tensor, y: Tensor, *, threat: Threat, draws: Draws, k: int
    ) -> None:
        self.target, self.x, self.threat, self.draws = target, x, threat, draws
        self.oracle = Oracle(target, y, k=k)
        self.x_adv, self.fooled = find_starts(self.oracle, x, draws.at("starts"))
        if not bool(self.fooled.all()):
            target.warnings.append(_LOST)
        self.which = (self.fooled & (threat.size(x, self.x_adv) > 0)).nonzero().flatten()
        """Positions `(a,)` of those that walk."""
        if len(self.which):
            self.to_boundary(*self.first)
        self.best = self.x_adv.clone()

    @property
    def inside(self) -> Tensor:
        """Which images `(b,)` are misclassified within eps."""
        return self.fooled & (self.threat.size(self.x, self.best) <= self.threat.eps)

    def mark(self) -> None:
        """Adds a point to the convergence trace."""
        self.target.mark(1.0 - float(self.inside.double().mean()))

    def leave(self, stays: Tensor) -> None:
        """Lets images leave: all but some, mask `(b,)`, and where they may those that are within eps."""
        if self.target.leaves_early:
            stays = stays & ~self.inside
        self.which = self.which[stays[self.which]]

    def to_boundary(self, *place: str | int) -> None:
        """Moves those that walk back to the boundary by bisection, at draws of a place."""
        at = self.which
        draws = self.draws.at("boundary", *place).take(at)
        x, x_adv = self.x[at], self.x_adv[at]
        self.x_adv[at] = to_boundary(self.oracle, x, x_adv, at, draws, self.threat)

    def keep_nearer(self) -> None:
        """Takes where they stand for the best images where that is nearer in the threat's own norm."""
        at = self.which
        size = [self.threat.size(self.x[at], found[at]) for found in (self.x_adv, self.best)]
        nearer = at[size[0] < size[1]]
        self.best[nearer] = self.x_adv[nearer]

    def images(self) -> Tensor:
        """The best of each, in the budget; of a random victim the last and the best, both on its rim."""
        if not self.target.victim.stochastic:
            return self.threat.project(self.x, self.best).unsqueeze(1)
        rims = [on_the_rim(self.x, found, self.threat) for found in (self.x_adv, self.best)]
        return torch.stack(rims, dim=1)
