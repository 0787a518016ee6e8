"""ADD-Defense's losses against values computed by hand, and against their derivatives."""

import math

import pytest
import torch
from torch import nn

from defenses.add.losses import (
    confusion_loss,
    domain_loss,
    gradient_penalty,
    mean_discrepancy,
    passing_loss,
    prior_divergence,
    real_or_fake,
    restoration_loss,
    sampled,
)


def test_the_divergence_from_the_prior_is_that_of_two_gaussians():
    assert torch.equal(prior_divergence(torch.zeros(2, 3), torch.zeros(2, 3)), torch.zeros(2))
    mean, variance = torch.tensor([[1.0, 0.0]]), torch.tensor([[4.0, 0.25]])
    by_hand = 0.5 * (1 + 4 - 1 - math.log(4)) + 0.5 * (0 + 0.25 - 1 - math.log(0.25))
    assert float(prior_divergence(mean, variance.log())) == pytest.approx(by_hand, rel=1e-6)


def test_a_latent_is_drawn_with_the_encoders_mean_and_deviation():
    mean, log_variance = torch.tensor([[1.0, -2.0]]), torch.tensor([[0.0, math.log(9.0)]])
    assert torch.allclose(
        sampled(mean, log_variance, torch.tensor([[2.0, 1.0]])), torch.tensor([[3.0, 1.0]])
    )


def kernel(a: float, b: float, bandwidths: tuple[float, ...]) -> float:
    return sum(math.exp(-((a - b) ** 2) / (2 * s * s)) for s in bandwidths)


def test_the_mean_discrepancy_is_that_of_its_definition():
    widths = (1.0, 5.0)
    domains = [[0.0, 1.0], [2.0, 2.5], [-1.0, 4.0]]
    total = 0.0
    for p in domains:
        for q in domains:
            for one, two, sign in ((p, p, 1), (q, q, 1), (p, q, -2)):
                total += sign * sum(kernel(a, b, widths) for a in one for b in two) / 4
    z = torch.tensor(domains, dtype=torch.float64).reshape(6, 1)
    assert float(mean_discrepancy(z, 3, widths)) == pytest.approx(total / 9, rel=1e-9)
    same = torch.tensor([[0.0], [1.0]] * 3)
    assert float(mean_discrepancy(same, 3, widths)) == pytest.approx(0, abs=1e-6)


def test_the_distance_in_the_kernel_is_the_mean_over_coordinates():
    z = torch.tensor([[0.0, 0.0], [2.0, 0.0]], dtype=torch.float64)  # a mean square of 2
    by_hand = 2 * (2 - 2 * math.exp(-1)) / 4
    assert float(mean_discrepancy(z, 2, (1.0,))) == pytest.approx(by_hand, rel=1e-9)
    wide = torch.randn(40, 2048, generator=torch.Generator().manual_seed(0))
    wide[20:] += 1
    assert float(mean_discrepancy(wide, 2, (1.0,))) > 0.05


def test_lowering_the_discrepancy_brings_domains_together():
    z = torch.cat((torch.zeros(8, 2), torch.ones(8, 2))).double().requires_grad_()
    (gradient,) = torch.autograd.grad(mean_discrepancy(z, 2, (1.0, 5.0)), z)
    assert (gradient[:8] < 0).all()
    assert (gradient[8:] > 0).all()
    assert torch.autograd.gradcheck(
        lambda z: mean_discrepancy(z, 2, (1.0, 5.0)), (z + torch.rand(16, 2),)
    )


def test_the_domain_losses_are_what_they_are_by_hand():
    scores = torch.tensor(
        [[math.log(3.0), 0.0], [0.0, math.log(7.0)]]
    )  # 3/4 and 7/8 on the true one
    assert float(domain_loss(scores, 2, is_bce=False)) == pytest.approx(
        -(math.log(3 / 4) + math.log(7 / 8)) / 2, rel=1e-6
    )
    yes = [math.log(3 / 4), math.log(1 / 2), math.log(1 / 2), math.log(7 / 8)]
    assert float(domain_loss(scores, 2, is_bce=True)) == pytest.approx(-sum(yes) / 4, rel=1e-6)


def test_confusion_is_least_where_every_domain_is_equally_likely():
    even, uneven = torch.zeros(1, 3), torch.tensor([[0.0, 0.0, math.log(2.0)]])
    assert float(confusion_loss(even, is_bce=False)) == pytest.approx(math.log(3), rel=1e-6)
    by_hand = -(2 * math.log(1 / 4) + math.log(1 / 2)) / 3
    assert float(confusion_loss(uneven, is_bce=False)) == pytest.approx(by_hand, rel=1e-6)
    third = torch.full((1, 3), math.log(1 / 2))  # a sigmoid of 1/3
    least = -(math.log(1 / 3) / 3 + 2 * math.log(2 / 3) / 3)
    assert float(confusion_loss(third, is_bce=True)) == pytest.approx(least, rel=1e-6)
    assert float(confusion_loss(even, is_bce=True)) > least


def test_the_image_losses_are_what_they_are_by_hand():
    real, fake = torch.tensor([[math.log(4.0)]]), torch.tensor([[0.0], [math.log(1 / 3)]])
    by_hand = -math.log(4 / 5) - (math.log(1 / 2) + math.log(3 / 4)) / 2
    assert float(real_or_fake(real, fake)) == pytest.approx(by_hand, rel=1e-6)
    assert float(passing_loss(fake)) == pytest.approx(
        -(math.log(1 / 2) + math.log(1 / 4)) / 2, rel=1e-6
    )


def test_restoration_is_summed_over_domains_and_held_against_the_originals():
    original = torch.zeros(2, 1, 1, 2)
    restored = torch.cat((original, original + 1, original + 3))
    assert float(restoration_loss(restored, original, 3)) == pytest.approx(0 + 1 + 9)


class Slope(nn.Module):
    def forward(self, x):
        return 3 * x[:, 0, 0, :1] + 4 * x[:, 0, 0, 1:]  # a gradient of length 5


def test_the_gradient_penalty_is_the_squared_excess_over_length_one():
    real, fake = torch.zeros(2, 1, 1, 2), torch.ones(2, 1, 1, 2)
    share = torch.tensor([0.0, 0.5]).view(2, 1, 1, 1)
    assert float(gradient_penalty(Slope(), real, fake, share)) == pytest.approx(16)


class Bowl(nn.Module):
    def forward(self, x):
        return x.flatten(1).square().sum(1, keepdim=True)  # a gradient of twice the image


def test_a_critic_learns_from_its_gradient_penalty():
    """A slope of 5 is 4 too steep: the penalty's own derivative is twice that, along the slope."""
    critic = nn.Linear(16, 1, bias=False)
    critic.weight.data.fill_(5 / 4)
    images = torch.rand(3, 1, 4, 4)
    share = torch.full((3, 1, 1, 1), 0.5)
    found = gradient_penalty(nn.Sequential(nn.Flatten(), critic), images, images, share)
    (slope,) = torch.autograd.grad(found, critic.weight)
    torch.testing.assert_close(slope, torch.full((1, 16), 2 * 4 * 1 / 4))


def test_the_gradient_penalty_is_taken_between_the_real_and_the_fake_image():
    real, fake = torch.full((2, 1, 1, 1), 1.0), torch.full((2, 1, 1, 1), 3.0)
    share = torch.tensor([0.25, 1.0]).view(2, 1, 1, 1)  # at 2.5, and at the real one
    expected = ((2 * 2.5 - 1) ** 2 + (2 * 1.0 - 1) ** 2) / 2
    found = gradient_penalty(Bowl(), real, fake, share)
    assert found.item() == pytest.approx(expected)
