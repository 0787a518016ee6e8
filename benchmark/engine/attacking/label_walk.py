"""Walks by labels alone: where the images of a batch stand on the boundary, and the nearest of each so far."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import ClassVar

import torch
from torch import Tensor

from benchmark.engine.attacking.queries import Oracle, find_starts, to_boundary
from benchmark.engine.attacking.rim import on_the_rim
from benchmark.engine.attacking.target import Target
from benchmark.engine.randomness import Draws
from benchmark.engine.threat import Threat

_LOST = "some images found no misclassified starting point"


@dataclass(eq=False, repr=False)
class LabelWalk:
    """Where each image of a batch stands on the boundary, from a misclassified start.

    An image counts only within eps: where the nearest misclassified image lies farther away it is moved into
    the budget, and no longer fools. Of a fixed victim an image leaves, where it may, once it is within eps. A
    random victim's images go the whole way, and the last and the nearest come back, both on the rim of the
    budget, because on the boundary every second draw is still right.
    """

    first: ClassVar[tuple[str, ...]] = ()
    """The place of the first bisection's draws."""

    target: Target
    x: Tensor
    """Clean images `(b, c, h, w)`."""
    y: Tensor
    """True labels `(b,)`."""
    _: KW_ONLY
    threat: Threat
    draws: Draws
    k: int
    """Labels of a random victim for one answer."""

    def __post_init__(self) -> None:
        self.oracle = Oracle(self.target, self.y, k=self.k)
        self.x_adv, self.fooled = find_starts(self.oracle, self.x, self.draws.at("starts"))
        if not bool(self.fooled.all()):
            self.target.warnings.append(_LOST)
        is_away = self.threat.size(self.x, self.x_adv) > 0
        self.which = (self.fooled & is_away).nonzero().flatten()
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
