"""Noise as an attack: a random point of the budget's rim, each image its own, which asks nothing."""

import pytest
import torch

from attacks.noise import RandomNoise
from benchmark.engine.threat import Norm
from benchmark.selftest.closed_forms import LinearTask, fooled_by_any
from tests.helpers.toy_plugins import image_draws, linear_target

TASK = LinearTask.make(n=8)


def shown(norm: Norm, factor: float, which: torch.Tensor | None = None, *path: str):
    target = linear_target(TASK)
    threat = TASK.threat(norm, factor)
    at = torch.arange(8) if which is None else which
    draws = image_draws(8, *path).take(at)
    x_adv = RandomNoise()(target, TASK.x[at], TASK.y[at], threat=threat, draws=draws)
    assert (target.forwards, target.backwards) == (0, 0)
    return x_adv, threat


@pytest.mark.parametrize("norm", list(Norm))
def test_every_image_lies_on_the_rim_of_its_budget(norm):
    x_adv, threat = shown(norm, 0.5)
    torch.testing.assert_close(
        threat.size(TASK.x, x_adv[:, 0]), torch.full((8,), threat.eps).to(TASK.x)
    )
    if norm is Norm.LINF:
        moved = (x_adv[:, 0] - TASK.x).abs()
        torch.testing.assert_close(moved, torch.full_like(moved, threat.eps))


def test_as_many_pixels_go_up_as_down():
    x_adv, _ = shown(Norm.LINF, 0.5)
    up = (x_adv[:, 0] > TASK.x).double()
    assert abs(float(up.mean()) - 0.5) < 4.5 * 0.5 / up.numel() ** 0.5


@pytest.mark.parametrize("norm", list(Norm))
def test_it_never_succeeds_below_the_exact_margin_and_hardly_above_it(norm):
    target = linear_target(TASK)
    for factor in (0.95, 1.05):
        x_adv, _ = shown(norm, factor)
        assert not fooled_by_any(target.victim, x_adv, TASK.y, target).any()


@pytest.mark.parametrize("norm", list(Norm))
def test_an_image_has_its_own_noise_in_any_batch(norm):
    whole, _ = shown(norm, 0.5)
    alone, _ = shown(norm, 0.5, torch.tensor([5, 2]))
    assert torch.equal(alone, whole[[5, 2]])
    assert len({row.numpy().tobytes() for row in whole - TASK.x.unsqueeze(1)}) == 8
    other, _ = shown(norm, 0.5, None, "restart")
    assert not torch.equal(other, whole)
