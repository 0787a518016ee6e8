"""Rotation and translation against truths: enumeration, and a transformation that is known."""

import itertools

import pytest
import torch
from torch import nn

from attacks.rotation_translation import RotationTranslation
from benchmark.engine.attacking.losses import margin
from benchmark.engine.attacking.perturbations import moved
from benchmark.engine.attacking.target import Target
from benchmark.engine.threat import Threat
from benchmark.engine.victims.classifier import Classifier
from benchmark.engine.victims.purified import Purified
from tests.helpers.toy_plugins import Noise, image_draws, nonlinear_target


class Near(nn.Module):
    """Calls an image 1 where it lies nearer to a template than `radius`, else 0."""

    def __init__(self, template: torch.Tensor, radius: float) -> None:
        super().__init__()
        self.template = template
        self.radius = radius

    def forward(self, x):
        gap = self.radius - (x - self.template).flatten(1).norm(dim=1)
        return torch.stack((torch.zeros_like(gap), gap), dim=1)


def looking_for(x, degrees, right, down):
    turn = torch.tensor([[degrees, right, down]], dtype=torch.float64)
    classifier = Classifier(Near(moved(x, turn), 1e-6), name="near", classes=2, sha256="")
    return Target(Purified([], classifier), classes=2, leaves_early=True), moved(x, turn)


@pytest.mark.parametrize(
    ("eps", "known"),
    [("1", (-30.0, 0.1, -0.05)), ("1", (18.0, 0.0, 0.0)), ("0.5", (15.0, -0.05, 0.025))],
)
def test_a_known_transformation_is_found(eps, known):
    x = torch.rand(1, 3, 10, 10, generator=torch.Generator().manual_seed(3)).double()
    target, template = looking_for(x, *known)
    attack = RotationTranslation(rotations=21, shifts=5)
    x_adv = attack(
        target,
        x,
        torch.zeros(1).long(),
        threat=Threat.parse(f"spatial:{eps}"),
        draws=image_draws(1),
    )
    torch.testing.assert_close(x_adv[:, 0], template, rtol=0, atol=1e-9)


def test_one_that_lies_outside_the_budget_is_not_found():
    x = torch.rand(1, 1, 10, 10, generator=torch.Generator().manual_seed(3)).double()
    target, template = looking_for(x, 30.0, 0.0, 0.0)
    attack, threat = RotationTranslation(rotations=21, shifts=1), Threat.parse("spatial:0.99")
    x_adv = attack(target, x, torch.zeros(1).long(), threat=threat, draws=image_draws(1))
    assert float((x_adv[:, 0] - template).norm()) > 1e-3


@pytest.mark.parametrize("leaves_early", [True, False])
def test_the_grid_finds_what_enumeration_finds(leaves_early):
    target, x, y = nonlinear_target(leaves_early=leaves_early)
    attack = RotationTranslation(rotations=5, shifts=3)
    x_adv = attack(target, x, y, threat=Threat.parse("spatial:0.7"), draws=image_draws(len(x)))
    found = margin(target.bare_logits(x_adv[:, 0]), y)
    angles, shifts = torch.linspace(-21, 21, 5), torch.linspace(-0.07, 0.07, 3)
    margins = []
    for turn in itertools.product(angles, shifts, shifts):
        parameters = torch.tensor([turn], dtype=torch.float64).expand(len(x), 3)
        margins.append(margin(target.bare_logits(moved(x, parameters)), y))
    best = torch.stack(margins).amax(0)
    assert torch.equal(found > 0, best > 0)
    assert 0 < int((best > 0).sum()) < len(best)
    if not leaves_early:
        torch.testing.assert_close(found, best, rtol=0, atol=1e-6)


def test_the_worst_of_more_is_no_better_and_none_is_worse_than_a_fine_grid_by_much():
    target, x, y = nonlinear_target()
    threat, found = Threat.parse("spatial:1"), []
    for attack in (
        RotationTranslation(search="random", k=2),
        RotationTranslation(search="random", k=40),
        RotationTranslation(rotations=9, shifts=5),
    ):
        x_adv = attack(target, x, y, threat=threat, draws=image_draws(len(x)))
        found.append(margin(target.bare_logits(x_adv[:, 0]), y))
    few, many, grid = found
    assert (many >= few).all()
    assert (many > few).any()
    assert float((many - grid).max()) < 0.1 * float(grid.max() - grid.min())


def test_a_random_victims_images_get_the_best_of_all_tried():
    target, x, y = nonlinear_target(Noise(sigma=1e-9))
    attack = RotationTranslation(rotations=5, shifts=1, candidates=2)
    x_adv = attack(target, x, y, threat=Threat.parse("spatial:1"), draws=image_draws(len(x)))
    best, second = (margin(target.bare_logits(x_adv[:, i]), y) for i in (0, 1))
    assert x_adv.shape[1] == 2
    assert (best >= second - 1e-6).all()
    assert (best > second + 1e-3).any()
