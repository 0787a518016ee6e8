"""The auxiliary-aware attack's projection: up the margin first, then calmer along the margin's level set."""

import pytest
import torch

from attacks.auxiliary import AuxiliaryAware
from benchmark.engine.attacking.search import Search
from benchmark.engine.threat import Norm
from benchmark.selftest.closed_forms import LOGIT_GAP, LinearTask
from tests.helpers.toy_plugins import Nervous, image_draws, linear_target

TASK = LinearTask.make(n=4, dtype=torch.float64)
PLACE = (0, 0, 0)


def looked(cap, factor):
    """Direction and values at points that lie `factor` of the way to the boundary and beyond."""
    target = linear_target(TASK, Nervous(grey=0.2))
    search = Search(
        target, TASK.x, TASK.y, draws=image_draws(4), puts_success_first=True, follows=None
    )
    way = factor * LOGIT_GAP / TASK.slope.square().sum()
    x = TASK.x - (1 - 2 * TASK.y).view(-1, 1, 1, 1) * way * TASK.slope
    attack = AuxiliaryAware(projection=True, lambdas=(1,), cap=cap)
    direction, _, value = attack._look_apart(search, x, torch.zeros(4), PLACE)
    uphill = -(1 - 2 * TASK.y).view(-1, 1, 1, 1) * TASK.slope.expand_as(x)
    return x, direction, value, uphill


def dot(a, b):
    return (a * b).flatten(1).sum(1)


def test_below_the_cap_it_goes_up_the_margin_and_nowhere_else():
    _, direction, value, uphill = looked(cap=1.0, factor=0.5)
    assert torch.allclose(direction, uphill)
    assert (value < 1.0).all()


def test_above_the_cap_it_moves_at_a_right_angle_to_the_margin_and_makes_the_purifier_calmer():
    x, direction, value, uphill = looked(cap=0.5, factor=1.5)
    angle = dot(direction, uphill) / (
        direction.flatten(1).norm(dim=1) * uphill.flatten(1).norm(dim=1)
    )
    assert angle.abs().max() < 1e-12
    auxiliary = Nervous(grey=0.2).auxiliary_loss
    step = 1e-4 * direction
    draws = image_draws(4)
    assert (auxiliary(x + step, draws=draws) < auxiliary(x, draws=draws)).all()
    assert ((value > 0.5) & (value <= 1.5)).all()


def test_no_right_angled_step_is_steeper():
    x, direction, _, uphill = looked(cap=0.5, factor=1.5)
    slope = 2 * (x - 0.2)  # of the auxiliary loss
    best = -dot(direction, slope) / direction.flatten(1).norm(dim=1)
    for i in range(5):
        other = image_draws(4).at("other", i).normal(tuple(x.shape[1:]), dtype=x.dtype)
        other = other - (dot(other, uphill) / dot(uphill, uphill)).view(-1, 1, 1, 1) * uphill
        assert (-dot(other, slope) / other.flatten(1).norm(dim=1) < best).all()


@pytest.mark.parametrize("norm", Norm)
def test_beside_the_grid_it_fools_as_many_and_leaves_the_purifier_calmer_than_no_weight_does(norm):
    threat = TASK.threat(norm, 1.6)
    found = {}
    for name, arguments in (
        ("projection", {"projection": True, "lambdas": (1,)}),
        ("0", {"lambdas": (0,)}),
    ):
        attack = AuxiliaryAware(steps=30, step_size=0.1, cap=0.3, **arguments)
        x_adv = attack(
            linear_target(TASK, Nervous(grey=0.2)),
            TASK.x,
            TASK.y,
            threat=threat,
            draws=image_draws(4),
        )[:, 0]
        assert (TASK.room(x_adv) < 0).all()
        found[name] = Nervous(grey=0.2).auxiliary_loss(x_adv, draws=image_draws(4))
    assert (found["projection"] < found["0"]).all()
