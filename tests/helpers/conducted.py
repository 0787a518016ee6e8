"""Purifiers and a victim that answer as they should not, each in one way, and honest ones beside them."""

import random
import time

import numpy as np
import torch
from torch import nn

from benchmark.engine.victims.defense import Defense, Derivative
from benchmark.engine.victims.victim import Victim

SHAPE = (1, 4, 4)


class Plain(Defense):
    """Honest: half of the contrast; the liars below are made from it."""

    name = "plain"
    stochastic = False
    gradient = Derivative.EXACT

    def purify(self, x, *, draws):
        return 0.5 * x + 0.25


class TorchNoise(Plain):
    def purify(self, x, *, draws):
        return (x + 0.1 * torch.randn_like(x)).clamp(0, 1)


class NumpyNoiseSaid(Plain):
    stochastic = True

    def purify(self, x, *, draws):
        noise = torch.tensor(np.random.randn(*x.shape), dtype=x.dtype)
        return (x + 0.1 * noise).clamp(0, 1)


class PythonNoise(Plain):
    def purify(self, x, *, draws):
        return (x * (1 - 0.3 * random.random())).clamp(0, 1)


class DrawsUnsaid(Plain):
    def purify(self, x, *, draws):
        return (x + 0.1 * draws.at("n").normal(SHAPE, dtype=x.dtype)).clamp(0, 1)


class OwnGenerator(Plain):
    stochastic = True

    def prepare(self, setting):
        self.own = np.random.default_rng(0)

    def purify(self, x, *, draws):
        noise = torch.tensor(self.own.standard_normal(tuple(x.shape)), dtype=x.dtype)
        return (x + 0.1 * noise).clamp(0, 1)


class Entropy(Plain):
    def purify(self, x, *, draws):
        noise = torch.tensor(np.random.default_rng().random(tuple(x.shape)), dtype=x.dtype)
        return (x + 0.1 * noise).clamp(0, 1)


class Clock(Plain):
    def purify(self, x, *, draws):
        generator = torch.Generator().manual_seed(time.perf_counter_ns() % 2**31)
        noise = torch.randn(x.shape, generator=generator, dtype=x.dtype)
        return (x + 0.1 * noise).clamp(0, 1)


class Remembers(Plain):
    """Mixes in the first images that it saw; a list in a closure holds them."""

    def prepare(self, setting):
        seen = []

        def mixed(x):
            seen.append(x.detach().mean(0, keepdim=True))
            return 0.9 * x + 0.1 * seen[0]

        self.mixed = mixed

    def purify(self, x, *, draws):
        return self.mixed(x)


class Drifts(Plain):
    """A running mean that moves at every call."""

    def prepare(self, setting):
        self.mean = torch.zeros(SHAPE, dtype=setting.dtype)

    def purify(self, x, *, draws):
        self.mean += 0.1 * (x.detach().mean(0) - self.mean)
        return 0.8 * x + 0.2 * self.mean.clamp(0, 1)


class Counts(Plain):
    """Counts its calls and keeps its last output, as one looks at while one writes a purifier."""

    calls = 0

    def purify(self, x, *, draws):
        self.calls += 1
        self.last = super().purify(x, draws=draws)
        return self.last


class Lazy(Plain):
    """Makes a kernel at its first call."""

    kernel = None

    def purify(self, x, *, draws):
        if self.kernel is None:
            self.kernel = torch.full((1,), 0.5, dtype=x.dtype)
        return self.kernel * x + 0.25


class WritesData(Plain):
    def purify(self, x, *, draws):
        x.data.mul_(0.9)
        return x * 1.0


class WritesThroughNumpy(Plain):
    def purify(self, x, *, draws):
        held = x.detach().numpy()
        held *= 0.9
        return x * 1.0


class Watched(Plain):
    def purify(self, x, *, draws):
        return x * (1.0 if torch.is_grad_enabled() else 0.5)


class BatchMean(Plain):
    def purify(self, x, *, draws):
        return 0.5 * x + 0.5 * x.mean(0, keepdim=True)


class TrainMode(Plain):
    def prepare(self, setting):
        self.norm = nn.BatchNorm2d(1).to(setting.dtype).train()

    def purify(self, x, *, draws):
        return torch.sigmoid(self.norm(x))


class LooksBeside(Plain):
    """Blurs where the row beside it is the same image: the draws of one image are so, in attacks."""

    def purify(self, x, *, draws):
        is_twin = (x == x.roll(1, 0)).flatten(1).all(1) & (len(x) > 1)
        return torch.where(is_twin[:, None, None, None], 0.5 * x + 0.25, x)


class Wrapped(Victim):
    """Changes what a plain victim answers.

    Args:
        inner: The plain victim.
        kind: How.
    """

    def __init__(self, inner, kind):
        super().__init__()
        self.inner, self.kind = inner, kind

    stochastic = False

    @property
    def classifiers(self):
        return self.inner.classifiers

    def logits(self, x, *, draws, mode):
        if self.kind == "in place":
            x.data.clamp_(0.3, 0.7)
        logits = self.inner.logits(x, draws=draws, mode=mode)
        if self.kind == "crowd":
            return logits - logits.mean(0)
        if self.kind == "random":
            return logits + torch.randn_like(logits)
        return logits

    def auxiliary_loss(self, x, *, draws, mode):
        return self.inner.auxiliary_loss(x, draws=draws, mode=mode)


class Wraps(Plain):
    def __init__(self, *, kind: str = "") -> None:
        self.kind = kind

    def wrap(self, purified):
        return Wrapped(purified, self.kind)
