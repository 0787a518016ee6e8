"""Toys: small purifiers, victims and attacks that behave in one known way each."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmark.engine.attacking.target import Target
from benchmark.engine.randomness import Draws
from benchmark.engine.victims.checkpointed import iterated
from benchmark.engine.victims.defense import Defense, Derivative
from benchmark.engine.victims.purified import Purified
from benchmark.selftest.closed_forms import LinearTask
from benchmark.selftest.toy_victims import small_network


class Same(Defense):
    """Gives back every image as it is."""

    name = "same"
    stochastic = False
    gradient = Derivative.EXACT

    def purify(self, x: Tensor, *, draws: Draws) -> Tensor:
        return x * 1.0


class Quantised(Defense):
    """Rounds pixels to 1024 levels: no gradient, and no change of more than 1/2046."""

    name = "quantised"
    stochastic = False
    gradient = Derivative.NONE

    def purify(self, x: Tensor, *, draws: Draws) -> Tensor:
        return (x * 1023).round() / 1023


class Noise(Defense):
    """Adds Gaussian noise, and remembers the first number drawn for every row."""

    name = "noise"
    stochastic = True
    gradient = Derivative.EXACT

    def __init__(self, *, sigma: float = 0.04) -> None:
        self.sigma = sigma
        self.seen: list[float] = []

    def purify(self, x: Tensor, *, draws: Draws) -> Tensor:
        noise = draws.normal(tuple(x.shape[1:]), dtype=x.dtype)
        self.seen.extend(noise[:, 0, 0, 0].tolist())
        return (x + self.sigma * noise).clamp(0, 1)


class Nervous(Defense):
    """Changes nothing, but has an auxiliary loss: the mean pixel's distance from a grey level."""

    name = "nervous"
    stochastic = False
    gradient = Derivative.EXACT

    def __init__(self, *, grey: float = 0.5, scale: float = 1.0) -> None:
        self.grey = grey
        self.scale = scale

    def purify(self, x: Tensor, *, draws: Draws) -> Tensor:
        return x * 1.0

    def auxiliary_loss(self, x: Tensor, *, draws: Draws) -> Tensor:
        return self.scale * (x - self.grey).square().flatten(1).sum(1)


def linear_target(task: LinearTask, *defenses: Defense, **options) -> Target:
    """The task's classifier behind purifiers, as a target."""
    victim = Purified(list(defenses), task.classifier)
    return Target(victim, classes=task.classifier.classes, **options)


def image_draws(n: int, *path: str) -> Draws:
    """Draws for the images 0..n-1."""
    return Draws.of(11, torch.arange(n), *path)


def nonlinear_target(*defenses: Defense, **options) -> tuple[Target, Tensor, Tensor]:
    """A small random float64 network behind purifiers, with 23 images and its own predictions as labels."""
    classifier, x, y = small_network(23)
    victim = Purified(list(defenses), classifier)
    return Target(victim, classes=6, **options), x, y


class Walk(Defense):
    """Walks towards the image's own mirror image, a little noise at every step: a long, smooth process.

    Args:
        steps: How many.
        share: Of the way that one step goes.
        short: Steps of its surrogate, each of which goes as far as several; 0 for the identity.
        sigma: Standard deviation of a step's noise.
    """

    name = "walk"
    stochastic = True
    gradient = Derivative.EXACT

    def __init__(
        self, *, steps: int = 20, share: float = 0.05, short: int = 0, sigma: float = 1e-4
    ) -> None:
        self.steps = steps
        self.share = share
        self.short = short
        self.sigma = sigma

    def purify(self, x: Tensor, *, draws: Draws) -> Tensor:
        def step(x_k: Tensor, k: int) -> Tensor:
            noise = draws.at("step", k).normal(tuple(x.shape[1:]), dtype=x.dtype)
            return self._towards_mirror(x_k, self.share) + self.sigma * noise

        return iterated(step, x, self.steps).clamp(0, 1)

    def surrogate(self, x: Tensor, *, draws: Draws) -> Tensor:
        share = 1 - (1 - self.share) ** (self.steps / max(1, self.short))
        for _ in range(self.short):
            x = self._towards_mirror(x, share)
        return x

    @staticmethod
    def _towards_mirror(x: Tensor, share: float) -> Tensor:
        return x + share * (x.flip(3) - x)
