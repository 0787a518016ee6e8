"""Noise: a random point of the budget's rim, which asks its victim nothing."""

from __future__ import annotations

from torch import Tensor

from benchmark.engine.attacking.attack import Attack, Passes
from benchmark.engine.attacking.rim import random_rim
from benchmark.engine.attacking.target import Target
from benchmark.engine.randomness import Draws
from benchmark.engine.threat import Threat


class RandomNoise(Attack):
    """In linf every pixel moves by eps, up or down; in l2 the image moves by eps in a random direction.

    It is no attack to be withstood, but what a gradient must beat, and one of the kinds of images that a
    defense may be trained on.
    """

    name = "noise"
    mixes = False

    def perturb(
        self, target: Target, x: Tensor, y: Tensor, *, threat: Threat, draws: Draws
    ) -> Tensor:
        """One image for each, `(b, c, h, w)`."""
        del target, y
        return random_rim(x, threat, draws.at("init"))

    def passes(self, **_: object) -> Passes:
        """None: it asks nothing."""
        return Passes(forwards=0, backwards=0)
