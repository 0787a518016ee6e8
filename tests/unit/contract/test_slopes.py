"""How well gradients tell answers: 1 for a linear victim's own, nothing for one that says nothing."""

import math

import pytest
import torch

from benchmark.contract.slopes import DIRECTIONS, cosine_of, gradient_of, moves_of
from benchmark.engine.threat import Norm
from benchmark.engine.victims.defense import Derivative
from benchmark.engine.victims.victim import GradientMode
from benchmark.selftest.closed_forms import LinearTask
from tests.helpers.toy_plugins import Noise, Same, image_draws, linear_target

TASK = LinearTask.make(n=8)
EXACT, BPDA, RECOVERED = GradientMode.EXACT, GradientMode.BPDA, GradientMode.RECOVERED


class Mirror(Same):
    """Turned round, where its surrogate is not, and without a gradient of its own."""

    gradient = Derivative.NONE

    def purify(self, x, *, draws):
        return x.detach().flip(-1)


def asked(defense, mode, norm=Norm.LINF):
    victim, x, draws = linear_target(TASK, defense).victim, TASK.x, image_draws(8)
    y = victim.logits(x, draws=draws, mode=EXACT).argmax(1)
    steps, moved = moves_of(victim, x, y, draws, TASK.threat(norm, 0.5))
    return cosine_of(gradient_of(victim, x, y, draws, mode), steps, moved)


@pytest.mark.parametrize("mode", GradientMode)
@pytest.mark.parametrize("norm", Norm)
def test_a_linear_victims_own_gradient_tells_all_and_draws_do_not_matter(norm, mode):
    for defense in (Same(), Noise(sigma=0.05)):
        assert asked(defense, mode, norm) > 1 - 1e-6


def test_a_gradient_that_says_nothing_tells_nothing():
    assert asked(Mirror(), EXACT) == 0.0
    assert abs(asked(Mirror(), BPDA)) < 4 / math.sqrt(DIRECTIONS * len(TASK.x)) + 0.25
    assert asked(Mirror(), RECOVERED) > 1 - 1e-6


def test_a_victim_that_always_answers_the_same_is_told_by_nothing():
    class Grey(Same):
        def purify(self, x, *, draws):
            return torch.full_like(x, 0.5) + 0 * x

    assert asked(Grey(), EXACT) == 0.0
