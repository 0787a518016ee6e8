"""A purifier that breaks the contract is caught, by the check that is there for it."""

import pytest
import torch
from torch import nn

from benchmark.contract.checks import CHECKS, run_checks
from benchmark.engine.threat import Threat
from benchmark.engine.victims.classifier import Classifier
from benchmark.engine.victims.defense import Defense
from benchmark.engine.victims.setting import Setting
from tests.helpers import broken_defenses as liars
from tests.helpers.broken_defenses import SHAPE

NAMES = [check.__name__ for check in CHECKS]


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


LIARS = [
    (liars.WritesIntoItsInput, "returns_images"),
    (liars.WritesBehindTheVersionCounter, "leaves_its_input"),
    (liars.ReturnsNaN, "returns_images"),
    (liars.LeavesTheRange, "returns_images"),
    (liars.LeavesTheRangeOnBlackOnly, "returns_images"),
    (liars.ReturnsAnotherShape, "returns_images"),
    (liars.ReturnsAnotherDtype, "has_the_gradient_it_declares"),
    (liars.DropsTheBatchOfOne, "returns_images"),
    (liars.DrawsFromTheGlobalGenerator, "uses_no_global_generator"),
    (liars.DrawsFromTheGlobalGenerator, "repeats_itself"),
    (liars.DrawsFromNumpysGlobalGenerator, "uses_no_global_generator"),
    (liars.HearsTheGlobalSeed, "uses_no_global_generator"),
    (liars.SeedsTheGlobalGenerator, "uses_no_global_generator"),
    (liars.CountsItsCalls, "repeats_itself"),
    (liars.ClaimsToBeDeterministic, "tells_whether_it_is_stochastic"),
    (liars.ClaimsToBeStochastic, "tells_whether_it_is_stochastic"),
    (liars.DetachesSomewhere, "has_the_gradient_it_declares"),
    (liars.DetachesEverything, "has_the_gradient_it_declares"),
    (liars.ScalesItsGradient, "has_the_gradient_it_declares"),
    (liars.RoundsAndClaimsAGradient, "has_the_gradient_it_declares"),
    (liars.HidesItsGradient, "has_the_gradient_it_declares"),
    (liars.CannotBeComputedAgain, "is_checkpointable"),
    (liars.HasNoSurrogate, "has_a_surrogate_with_a_gradient"),
    (liars.HasAConstantSurrogate, "has_a_surrogate_with_a_gradient"),
    (liars.TakesTheBatchMean, "treats_each_image_alone"),
    (liars.NormalisesOverTheBatch, "treats_each_image_alone"),
    (liars.DrawsOneMaskABatch, "treats_each_image_alone"),
    (liars.CountsItsRows, "treats_each_image_alone"),
    (liars.SwitchesModes, "ignores_train_mode"),
    (liars.HasOneAuxiliaryLossABatch, "has_an_auxiliary_loss"),
    (liars.MixesItsAuxiliaryLosses, "has_an_auxiliary_loss"),
    (liars.CutsItsAuxiliaryLossOff, "has_an_auxiliary_loss"),
    (liars.HasAnInfiniteAuxiliaryLoss, "has_an_auxiliary_loss"),
    (liars.ForgetsAnArgument, "is_its_arguments"),
    (liars.ChangesAnArgument, "is_its_arguments"),
    (liars.HasAnArgumentThatNoKeyCanHold, "is_its_arguments"),
    (liars.KnowsWhetherItIsWatched, "works_with_and_without_gradients"),
]


@pytest.mark.parametrize(
    ("liar", "check"), LIARS, ids=[f"{liar.__name__}-{check}" for liar, check in LIARS]
)
def test_a_liar_is_caught(liar, check):
    assert check in failed(liar())


def test_every_check_catches_somebody():
    assert {check for _, check in LIARS} == set(NAMES)


def test_the_honest_one_from_which_the_liars_are_made_passes():
    assert failed(liars.Honest()) == set()


def test_a_liar_fails_no_check_that_does_not_concern_it():
    assert failed(liars.ClaimsToBeStochastic()) == {"tells_whether_it_is_stochastic"}
    assert failed(liars.HidesItsGradient()) == {"has_the_gradient_it_declares"}
    assert failed(liars.HasNoSurrogate()) == {"has_a_surrogate_with_a_gradient"}
    assert failed(liars.TakesTheBatchMean()) >= {"treats_each_image_alone"}


def test_a_defense_that_was_changed_after_its_making_is_not_its_arguments():
    mutated = liars.NeedsToBeMutated()
    mutated.gain = 3.0
    assert failed(mutated) >= {"is_its_arguments"}
