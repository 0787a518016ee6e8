"""Purifiers that break the contract, each in one way, and an honest one from which they are made."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from benchmark.engine.victims.defense import Defense, Derivative

SHAPE = (1, 8, 8)
"""Of the images that they are tried on."""


class Honest(Defense):
    """A differentiable, deterministic purifier, from which the liars below are made."""

    name = "honest"
    stochastic = False
    gradient = Derivative.EXACT

    def purify(self, x, *, draws):
        return torch.sigmoid(4 * x - 2)


class WritesIntoItsInput(Honest):
    def purify(self, x, *, draws):
        return x.mul_(0.5)


class WritesBehindTheVersionCounter(Honest):
    def purify(self, x, *, draws):
        x.data.mul_(0.5)
        return torch.sigmoid(x)


class ReturnsNaN(Honest):
    def purify(self, x, *, draws):
        return torch.where(x > 0.9, torch.nan, x)


class LeavesTheRange(Honest):
    def purify(self, x, *, draws):
        return 1.1 * x


class LeavesTheRangeOnBlackOnly(Honest):
    def purify(self, x, *, draws):
        return torch.where(x.flatten(1).amax(1).view(-1, 1, 1, 1) > 0, x, x - 0.5)


class ReturnsAnotherShape(Honest):
    def purify(self, x, *, draws):
        return x[:, :, :4]


class ReturnsAnotherDtype(Honest):
    def purify(self, x, *, draws):
        return torch.sigmoid(x.float()).to(torch.float32)


class DropsTheBatchOfOne(Honest):
    def purify(self, x, *, draws):
        return torch.sigmoid(x.squeeze())


class DrawsFromTheGlobalGenerator(Honest):
    stochastic = True

    def purify(self, x, *, draws):
        return (x + 0.1 * torch.randn_like(x)).clamp(0, 1)


class DrawsFromNumpysGlobalGenerator(Honest):
    stochastic = True

    def purify(self, x, *, draws):
        return (x + 0.1 * np.random.random()).clamp(0, 1)


class HearsTheGlobalSeed(Honest):
    def purify(self, x, *, draws):
        return (x + 1e-3 * (torch.initial_seed() % 7)).clamp(0, 1)


class SeedsTheGlobalGenerator(Honest):
    def purify(self, x, *, draws):
        torch.manual_seed(0)
        return torch.sigmoid(x)


class CountsItsCalls(Honest):
    calls = 0

    def purify(self, x, *, draws):
        self.calls += 1
        return x / (1 + 0.01 * self.calls)


class ClaimsToBeDeterministic(Honest):
    def purify(self, x, *, draws):
        return torch.sigmoid(x + draws.normal(SHAPE, dtype=x.dtype))


class ClaimsToBeStochastic(Honest):
    stochastic = True


class DetachesSomewhere(Honest):
    def purify(self, x, *, draws):
        return (0.5 * x + 0.5 * (x * x).detach()).clamp(0, 1)


class DetachesEverything(Honest):
    def purify(self, x, *, draws):
        return torch.sigmoid(x).detach()


class ScalesItsGradient(Honest):
    def purify(self, x, *, draws):
        y = torch.sigmoid(x)
        return y.detach() + 1.01 * (y - y.detach())


class RoundsAndClaimsAGradient(Honest):
    gradient = Derivative.ALMOST_EVERYWHERE

    def purify(self, x, *, draws):
        return (x * 4).round() / 4


class HidesItsGradient(Honest):
    gradient = Derivative.NONE


class CannotBeComputedAgain(Honest):
    calls = 0

    def purify(self, x, *, draws):
        self.calls += 1
        return torch.sigmoid(x * (1 + self.calls % 2))


class HasNoSurrogate(Honest):
    def surrogate(self, x, *, draws):
        return x.detach()


class HasAConstantSurrogate(Honest):
    def surrogate(self, x, *, draws):
        return 0 * x


class TakesTheBatchMean(Honest):
    def purify(self, x, *, draws):
        return 0.5 * x + 0.5 * x.mean(0, keepdim=True)


class NormalisesOverTheBatch(Honest):
    def prepare(self, setting):
        self.network = nn.BatchNorm2d(1).to(setting.dtype).train()

    def purify(self, x, *, draws):
        return torch.sigmoid(self.network(x))


class DrawsOneMaskABatch(Honest):
    stochastic = True

    def purify(self, x, *, draws):
        mask = draws.take(torch.tensor([0])).uniform(SHAPE, dtype=x.dtype) < 0.5
        return torch.sigmoid(x) * mask


class CountsItsRows(Honest):
    def purify(self, x, *, draws):
        return x * torch.linspace(0.5, 1, len(x), dtype=x.dtype).view(-1, 1, 1, 1)


class SwitchesModes(Honest):
    """Its dropout is part of the victim, so that `.train()` would reach it, did the victim not stand fast."""

    def wrap(self, purified):
        return Obedient(purified)


class Obedient(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def logits(self, x, *, draws, mode):
        return self.inner.logits(x, draws=draws, mode=mode) * (2 if self.training else 1)


class HasOneAuxiliaryLossABatch(Honest):
    def auxiliary_loss(self, x, *, draws):
        return (self(x, draws=draws) - x).abs().mean()


class MixesItsAuxiliaryLosses(Honest):
    def auxiliary_loss(self, x, *, draws):
        return super().auxiliary_loss(x, draws=draws).mean().expand(len(x))


class CutsItsAuxiliaryLossOff(Honest):
    def auxiliary_loss(self, x, *, draws):
        return super().auxiliary_loss(x.detach(), draws=draws)


class HasAnInfiniteAuxiliaryLoss(Honest):
    def auxiliary_loss(self, x, *, draws):
        return super().auxiliary_loss(x, draws=draws) / 0


class ForgetsAnArgument(Honest):
    def __init__(self, *, strength: float = 1.0) -> None:
        self.s = strength


class ChangesAnArgument(Honest):
    def __init__(self, *, strength: float = 255.0) -> None:
        self.strength = strength / 255

    def purify(self, x, *, draws):
        return torch.sigmoid(self.strength * x)


class HasAnArgumentThatNoKeyCanHold(Honest):
    def __init__(self, *, activation: object = torch.sigmoid) -> None:
        self.activation = activation


class NeedsToBeMutated(Honest):
    gain = 1.0

    def purify(self, x, *, draws):
        return torch.sigmoid(self.gain * x)


class KnowsWhetherItIsWatched(Honest):
    def purify(self, x, *, draws):
        return torch.sigmoid(x if torch.is_grad_enabled() else 2 * x)
