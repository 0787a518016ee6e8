"""Votes of a random victim: hard shares forward, the gradient of soft ones backward."""

import math

import torch

from benchmark.engine.randomness import Draws
from benchmark.engine.victims.victim import GradientMode, Victim, Vote

SIDES = torch.tensor([1.0, 1.0, 1.0, -1.0], dtype=torch.float64)


class Rows(Victim):
    """Two classes: an image's value against its negative, turned around in the last of its four rows."""

    stochastic = True
    classifiers = ()

    def logits(self, x, *, draws, mode):
        value = x.flatten(1).sum(1) * SIDES.repeat(len(x) // 4)
        return torch.stack((value, -value), 1)

    def auxiliary_loss(self, x, *, draws, mode):
        return x.flatten(1).sum(1)


def test_a_vote_is_the_logarithm_of_smoothed_shares_with_the_gradient_of_soft_ones():
    x = torch.tensor([[[[0.4]]], [[[-0.3]]]], dtype=torch.float64, requires_grad=True)
    draws = Draws.of(0, torch.arange(2), "votes")
    logits = Vote(Rows(), 4).logits(x, draws=draws, mode=GradientMode.EXACT)
    most, least = math.log(0.75 + 1e-3), math.log(0.25 + 1e-3)
    expected = torch.tensor([[most, least], [least, most]], dtype=torch.float64)
    torch.testing.assert_close(logits, expected)
    (slope,) = torch.autograd.grad(logits[:, 0].sum(), x)
    shares = torch.sigmoid(2 * x.detach().flatten()[:, None] * SIDES)  # (2, 4)
    by_row = 2 * SIDES * shares * (1 - shares)
    soft = by_row.mean(1) / (shares.mean(1) + 1e-3)
    torch.testing.assert_close(slope.flatten(), soft)
