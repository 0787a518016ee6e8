"""Votes of a random victim: hard shares forward, the gradient of soft ones backward."""

import math

import pytest
import torch

from benchmark.engine.randomness import Draws
from benchmark.engine.victims.victim import Around, GradientMode, Victim, Vote
from benchmark.errors import ContractBroken
from benchmark.evaluation.prepare.prepare import prepare
from tests.helpers.tiny_task import SHAPE, Noise, request

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


class Voting(Noise):
    """Wraps its victim in one that votes, or that looks at something of the draws."""

    name = "voting"

    def __init__(self, *, seen: str = "") -> None:
        super().__init__()
        self.seen = seen

    def wrap(self, purified):
        return Looking(purified, self.seen) if self.seen else Vote(purified, 3)


class Looking(Around):
    def __init__(self, inner, seen):
        super().__init__(inner)
        self.seen = seen

    def logits(self, x, *, draws, mode):
        getattr(draws, self.seen)
        return super().logits(x, draws=draws, mode=mode)


def test_a_plugins_own_victim_votes_as_ever_and_is_told_nothing_of_who_asks(tmp_path):
    draws = Draws.of(0, torch.arange(3), "select").repeat(2)
    x = torch.rand(6, *SHAPE, dtype=torch.float64)
    asked = {"draws": draws, "mode": GradientMode.EXACT}
    plain = prepare(request(tmp_path, defense=Noise())).victim
    voting = prepare(request(tmp_path, defense=Voting())).victim
    assert torch.equal(voting.logits(x, **asked), Vote(plain, 3).logits(x, **asked))
    assert torch.equal(voting.auxiliary_loss(x, **asked), Vote(plain, 3).auxiliary_loss(x, **asked))
    for seen in ("images", "rows", "path", "seed"):
        curious = prepare(request(tmp_path, defense=Voting(seen=seen))).victim
        with pytest.raises(ContractBroken, match=f"draws.{seen} would tell who asks"):
            curious.logits(x, **asked)
