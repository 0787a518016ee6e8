"""Random points: many images of the budget's rim, which ask their victim nothing."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from benchmark.engine.attacking.attack import Attack, Passes
from benchmark.engine.attacking.rim import random_rim
from benchmark.engine.attacking.target import Target
from benchmark.engine.randomness import Draws
from benchmark.engine.threat import Threat
from benchmark.errors import BenchError


@dataclass(kw_only=True, eq=False, repr=False)
class RandomPoints(Attack):
    """As many candidates as asked for: in linf corners of the budget, in l2 random directions of length eps.

    What blind search finds and a gradient does not is a sign of gradients that lead astray (Carlini et al., "On
    evaluating adversarial robustness", 2019, section 5.3: "try random noise within the ball").

    Args:
        points: Candidates of each image, at least 1.
    """

    name = "random-points"
    mixes = False

    points: int = 10

    def perturb(
        self, target: Target, x: Tensor, y: Tensor, *, threat: Threat, draws: Draws
    ) -> Tensor:
        """The candidates, `(b, points, c, h, w)`.

        Raises:
            BenchError: `points` is below 1.
        """
        del target, y
        if self.points < 1:
            raise BenchError(f"attack {self.name!r} needs at least 1 point; got {self.points}")
        found = [random_rim(x, threat, draws.at("init", i)) for i in range(self.points)]
        return torch.stack(found, dim=1)

    def passes(self, **_: object) -> Passes:
        """None: it asks nothing."""
        return Passes(forwards=0, backwards=0, candidates=self.points)
