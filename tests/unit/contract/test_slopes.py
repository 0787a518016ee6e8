"""How well gradients tell answers: 1 for a linear victim's own, nothing for one that says nothing."""

import math

import pytest
import torch

from benchmark.contract.slopes import DIRECTIONS, MISLED, agreements, misled
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


def asked(defense, modes, norm=Norm.LINF, use=agreements):
    victim = linear_target(TASK, defense).victim
    threat = TASK.threat(norm, 0.5)
    return use(victim, TASK.x, draws=image_draws(8), modes=modes, threat=threat)


@pytest.mark.parametrize("norm", Norm)
def test_a_linear_victims_own_gradient_tells_all_and_draws_do_not_matter(norm):
    for defense in (Same(), Noise(sigma=0.05)):
        found = asked(defense, [EXACT, BPDA, RECOVERED], norm)
        assert min(found.values()) > 1 - 1e-6


def test_a_gradient_that_says_nothing_tells_nothing():
    found = asked(Mirror(), [EXACT, BPDA, RECOVERED])
    assert found[EXACT] == 0.0
    assert abs(found[BPDA]) < 4 / math.sqrt(DIRECTIONS * len(TASK.x)) + 0.25
    assert found[RECOVERED] > 1 - 1e-6


def test_a_victim_that_always_answers_the_same_is_told_by_nothing():
    class Grey(Same):
        def purify(self, x, *, draws):
            return torch.full_like(x, 0.5) + 0 * x

    assert asked(Grey(), [EXACT]) == {EXACT: 0.0}


def test_what_is_missed_is_the_difference_to_the_best_of_those_that_are_followed():
    for modes in ([BPDA], [EXACT, BPDA]):
        more, most, said = asked(Mirror(), modes, use=misled)
        found = asked(Mirror(), [*modes, RECOVERED])
        assert more == pytest.approx(found[RECOVERED] - max(found[mode] for mode in modes))
        assert more > most == MISLED
        assert f"bpda {found[BPDA]:.2f}, recovered 1.00" in said
    more, _, _ = asked(Same(), [EXACT], use=misled)
    assert more == pytest.approx(0.0, abs=1e-6)
