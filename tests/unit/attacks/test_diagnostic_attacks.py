"""The attacks that only diagnoses use: blind search, and a random victim whose draws stand still."""

import pytest
import torch

from attacks.frozen_draw import FrozenDraw
from attacks.random_points import RandomPoints
from benchmark.engine.threat import Norm
from benchmark.errors import BenchError
from benchmark.selftest.closed_forms import LinearTask
from tests.helpers.toy_plugins import Noise, image_draws, linear_target

TASK = LinearTask.make(n=8)


def points(norm, factor, count=5, which=None):
    at = torch.arange(8) if which is None else which
    target, threat = linear_target(TASK), TASK.threat(norm, factor)
    x_adv = RandomPoints(points=count)(
        target, TASK.x[at], TASK.y[at], threat=threat, draws=image_draws(8).take(at)
    )
    assert (target.forwards, target.backwards) == (0, 0)
    return x_adv, threat


@pytest.mark.parametrize("norm", Norm)
def test_random_points_are_as_many_different_ones_on_the_rim_as_asked_for(norm):
    x_adv, threat = points(norm, 0.5)
    assert x_adv.shape[:2] == (8, 5)
    for i in range(5):
        size = threat.size(TASK.x, x_adv[:, i])
        torch.testing.assert_close(size, torch.full_like(size, threat.eps))
    assert len({row.numpy().tobytes() for row in x_adv.flatten(0, 1)}) == 40


@pytest.mark.parametrize("norm", Norm)
def test_an_images_random_points_are_the_same_in_any_batch(norm):
    whole, _ = points(norm, 0.5)
    few, _ = points(norm, 0.5, which=torch.tensor([6, 1]))
    assert torch.equal(few, whole[[6, 1]])


@pytest.mark.parametrize("norm", Norm)
def test_random_points_never_succeed_below_the_exact_margin_and_some_do_far_above(norm):
    near, _ = points(norm, 0.95)
    assert (TASK.room(near) > 0).all()
    far, _ = points(norm, 6.0, count=40)
    assert (TASK.room(far) < 0).any()


def test_no_random_point_is_no_attack():
    with pytest.raises(BenchError, match="at least 1 point"):
        points(Norm.LINF, 0.5, count=0)


def frozen(norm, factor, *, sigma, seed="a"):
    noise = Noise(sigma=sigma)
    target = linear_target(TASK, noise, eot=1)
    x_adv = FrozenDraw(steps=20, step_size=0.25)(
        target, TASK.x, TASK.y, threat=TASK.threat(norm, factor), draws=image_draws(8, seed)
    )
    return target, noise, x_adv


@pytest.mark.parametrize("norm", Norm)
def test_on_a_fixed_draw_the_exact_margin_decides_as_if_nothing_were_random(norm):
    # a draw shifts a point's room by its noise along the slope: here by less than a hundredth of the margin
    target, _, _ = frozen(norm, 1.05, sigma=1e-4)
    assert target.trace == [0.0]
    target, _, _ = frozen(norm, 0.95, sigma=1e-4)
    assert target.trace == [1.0]


def test_every_look_at_an_image_meets_one_and_the_same_draw_and_each_image_has_its_own():
    _, noise, _ = frozen(Norm.LINF, 0.9, sigma=0.04)
    assert len(set(noise.seen)) == len(TASK.x)
    _, other, _ = frozen(Norm.LINF, 0.9, sigma=0.04, seed="b")
    assert not set(noise.seen) & set(other.seen)


def test_its_own_word_is_the_verdict_at_the_fixed_draw_and_fresh_draws_say_otherwise():
    target, _, x_adv = frozen(Norm.LINF, 0.9, sigma=0.2)
    still = image_draws(8, "a").at("frozen", "stage", 0).normal((3, 6, 6), dtype=x_adv.dtype)
    is_right = TASK.room((x_adv[:, 0] + 0.2 * still).clamp(0, 1)) > 0
    assert target.trace == [float(is_right.double().mean())]
    rows = x_adv[:, 0].repeat_interleave(50, 0)
    again = target.predict(rows, draws=image_draws(8).at("score").repeat(50)).argmax(1)
    fresh = (again.view(8, 50) == TASK.y[:, None]).double().mean(1)
    assert ((fresh > 0) & (fresh < 1)).all()


def test_what_it_spends_is_counted_as_it_says():
    target, _, _ = frozen(Norm.LINF, 0.9, sigma=0.04)
    said = FrozenDraw(steps=20, step_size=0.25).passes(
        classes=5, eot=1, stochastic=True, shape=(3, 6, 6)
    )
    assert (target.forwards, target.backwards) == (8 * said.forwards, 8 * said.backwards)
    assert target.gradients == target.backwards
