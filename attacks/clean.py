"""The attack that does nothing: what every victim makes of the clean images."""

from __future__ import annotations

from torch import Tensor

from benchmark.engine.attacking.attack import EVERY_SET, Attack, Passes
from benchmark.engine.attacking.target import Target
from benchmark.engine.randomness import Draws
from benchmark.engine.threat import Threat


class Clean(Attack):
    """The clean images themselves, so that clean accuracy is measured by the same code as any other."""

    name = "clean"
    mixes = False
    norms = EVERY_SET

    def perturb(
        self, target: Target, x: Tensor, y: Tensor, *, threat: Threat, draws: Draws
    ) -> Tensor:
        """A copy of `x`."""
        del target, y, threat, draws
        return x.clone()

    def passes(self, **_: object) -> Passes:
        """None: it asks nothing."""
        return Passes(forwards=0, backwards=0)
