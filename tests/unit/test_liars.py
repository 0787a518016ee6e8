"""Purifiers that break the contract, each in one way, and the check that must catch it."""

import numpy as np
import pytest
import torch
from torch import nn

from benchmark.classifier import Classifier
from benchmark.defense import Defense, Derivative
from benchmark.setting import Setting
from benchmark.threat import Threat
from benchmark.trust.checks import CHECKS, run_checks

NAMES = [check.__name__ for check in CHECKS]
SHAPE = (1, 8, 8)


def classifier() -> Classifier:
    generator = torch.Generator().manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Softplus(), nn.Flatten(), nn.Linear(144, 10))
    for parameter in network.parameters():
        parameter.data.normal_(std=0.3, generator=generator)
    return Classifier(network, name="random", classes=10, sha256="0")


def setting() -> Setting:
    return Setting(
        dataset="made-up",
        shape=SHAPE,
        classes=10,
        threat=Threat.parse("linf:0.15"),
        device=torch.device("cpu"),
        classifier=classifier(),
    )


def images(n: int = 6) -> torch.Tensor:
    return torch.rand(n, *SHAPE, generator=torch.Generator().manual_seed(1)).mul(17).floor() / 16


def failed(defense: Defense) -> set[str]:
    defense.prepare(setting())
    return {found.name for found in run_checks(defense, setting(), images()) if not found.passed}


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


LIARS = [
    (WritesIntoItsInput, "returns_images"),
    (WritesBehindTheVersionCounter, "leaves_its_input"),
    (ReturnsNaN, "returns_images"),
    (LeavesTheRange, "returns_images"),
    (LeavesTheRangeOnBlackOnly, "returns_images"),
    (ReturnsAnotherShape, "returns_images"),
    (ReturnsAnotherDtype, "has_the_gradient_it_declares"),
    (DropsTheBatchOfOne, "returns_images"),
    (DrawsFromTheGlobalGenerator, "uses_no_global_generator"),
    (DrawsFromTheGlobalGenerator, "repeats_itself"),
    (DrawsFromNumpysGlobalGenerator, "uses_no_global_generator"),
    (HearsTheGlobalSeed, "uses_no_global_generator"),
    (SeedsTheGlobalGenerator, "uses_no_global_generator"),
    (CountsItsCalls, "repeats_itself"),
    (ClaimsToBeDeterministic, "tells_whether_it_is_stochastic"),
    (ClaimsToBeStochastic, "tells_whether_it_is_stochastic"),
    (DetachesSomewhere, "has_the_gradient_it_declares"),
    (DetachesEverything, "has_the_gradient_it_declares"),
    (ScalesItsGradient, "has_the_gradient_it_declares"),
    (RoundsAndClaimsAGradient, "has_the_gradient_it_declares"),
    (HidesItsGradient, "has_the_gradient_it_declares"),
    (CannotBeComputedAgain, "is_checkpointable"),
    (HasNoSurrogate, "has_a_surrogate_with_a_gradient"),
    (HasAConstantSurrogate, "has_a_surrogate_with_a_gradient"),
    (TakesTheBatchMean, "treats_each_image_alone"),
    (NormalisesOverTheBatch, "treats_each_image_alone"),
    (DrawsOneMaskABatch, "treats_each_image_alone"),
    (CountsItsRows, "treats_each_image_alone"),
    (SwitchesModes, "ignores_train_mode"),
    (HasOneAuxiliaryLossABatch, "has_an_auxiliary_loss"),
    (MixesItsAuxiliaryLosses, "has_an_auxiliary_loss"),
    (CutsItsAuxiliaryLossOff, "has_an_auxiliary_loss"),
    (HasAnInfiniteAuxiliaryLoss, "has_an_auxiliary_loss"),
    (ForgetsAnArgument, "is_its_arguments"),
    (ChangesAnArgument, "is_its_arguments"),
    (HasAnArgumentThatNoKeyCanHold, "is_its_arguments"),
    (KnowsWhetherItIsWatched, "works_with_and_without_gradients"),
]


@pytest.mark.parametrize(
    ("liar", "check"), LIARS, ids=[f"{liar.__name__}-{check}" for liar, check in LIARS]
)
def test_a_liar_is_caught(liar, check):
    assert check in failed(liar())


def test_every_check_catches_somebody():
    assert {check for _, check in LIARS} == set(NAMES)


def test_the_honest_one_from_which_the_liars_are_made_passes():
    assert failed(Honest()) == set()


def test_a_liar_fails_no_check_that_does_not_concern_it():
    assert failed(ClaimsToBeStochastic()) == {"tells_whether_it_is_stochastic"}
    assert failed(HidesItsGradient()) == {"has_the_gradient_it_declares"}
    assert failed(HasNoSurrogate()) == {"has_a_surrogate_with_a_gradient"}
    assert failed(TakesTheBatchMean()) >= {"treats_each_image_alone"}


def test_a_defense_that_was_changed_after_its_making_is_not_its_arguments():
    mutated = NeedsToBeMutated()
    mutated.gain = 3.0
    assert failed(mutated) >= {"is_its_arguments"}
