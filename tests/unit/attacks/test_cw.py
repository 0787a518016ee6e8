"""C&W's l2 attack against closed forms, and its search for the constant."""

import pytest
import torch

from attacks.cw import CW, _next_constant
from benchmark.engine.threat import Norm, Threat
from benchmark.engine.victims.victim import GradientMode
from benchmark.errors import BenchError
from benchmark.selftest.closed_forms import LinearTask, fooled_by_any, linear_failures
from tests.helpers.toy_plugins import (
    Nervous,
    Noise,
    Quantised,
    Same,
    image_draws,
    linear_target,
    nonlinear_target,
)

TASK = LinearTask.make(n=4)
SEARCH = CW(steps=60, binary_search_steps=6, initial_const=0.1, step_size=0.02)
SHORT = CW(steps=12, binary_search_steps=3, initial_const=0.1, step_size=0.05)
ROOMY, SMALL = Threat.parse("l2:5"), Threat.parse("l2:0.2")
VICTIMS = {  # purifiers, gradient mode, whether images leave early
    "bare": ((), GradientMode.EXACT, True),
    "identity, exact": ((Same(),), GradientMode.EXACT, False),
    "quantised, bpda": ((Quantised(),), GradientMode.BPDA, False),
    "nervous, exact": ((Nervous(),), GradientMode.EXACT, True),
}


@pytest.mark.parametrize("victim", VICTIMS)
def test_succeeds_just_above_the_exact_margin_and_never_just_below(victim):
    defenses, mode, leaves_early = VICTIMS[victim]
    target = linear_target(TASK, *defenses, mode=mode, leaves_early=leaves_early)
    assert linear_failures(SEARCH, TASK, target, Norm.L2) == []


def test_the_smallest_change_that_it_finds_is_the_exact_margin():
    target = linear_target(TASK)
    x_adv = SEARCH(target, TASK.x, TASK.y, threat=ROOMY, draws=image_draws(4))[:, 0]
    sizes = ROOMY.size(TASK.x, x_adv) / TASK.margins[Norm.L2]
    assert (sizes > 1).all()
    assert (sizes < 1.03).all()
    assert (TASK.room(x_adv) < 0).all()


def test_confidence_is_a_margin_that_its_images_have():
    target = linear_target(TASK)
    sure = CW(**SEARCH.arguments() | {"confidence": 1.0})
    x_adv = sure(target, TASK.x, TASK.y, threat=ROOMY, draws=image_draws(4))[:, 0]
    assert (TASK.room(x_adv) < -1.0).all()
    assert (ROOMY.size(TASK.x, x_adv) < 1.05 * 1.5 * TASK.margins[Norm.L2]).all()


def test_the_constant_is_halved_between_what_fools_and_what_does_not():
    c = torch.tensor([1.0, 1.0, 1.0])
    bounds = torch.zeros(3), torch.full((3,), float("inf"))
    c = _next_constant(c, bounds, torch.tensor([False, True, True]))
    assert c.tolist() == [10.0, 0.5, 0.5]
    c = _next_constant(c, bounds, torch.tensor([True, True, False]))
    assert c.tolist() == [5.5, 0.25, 0.75]
    assert bounds[0].tolist() == [1.0, 0.0, 0.5]
    assert bounds[1].tolist() == [10.0, 0.5, 1.0]


def test_a_change_larger_than_the_budget_is_moved_into_it_and_does_not_fool():
    target, threat = linear_target(TASK), TASK.threat(Norm.L2, 0.5)
    x_adv = SEARCH(target, TASK.x, TASK.y, threat=threat, draws=image_draws(4))
    sizes = threat.size(TASK.x, x_adv[:, 0])
    torch.testing.assert_close(sizes, torch.full_like(sizes, threat.eps))
    assert not fooled_by_any(target.victim, x_adv, TASK.y, target).any()


def test_an_image_that_is_never_fooled_gets_the_iterate_of_highest_margin():
    weak = CW(steps=5, binary_search_steps=1, initial_const=10.0)
    x_adv = weak(linear_target(TASK), TASK.x, TASK.y, threat=ROOMY, draws=image_draws(4))[:, 0]
    room = TASK.room(x_adv)
    assert (room > 0).all()
    assert (room < TASK.room(TASK.x) - 0.5).all()


def test_pixels_of_0_and_1_are_no_trouble():
    target, x, y = nonlinear_target()
    x_adv = SHORT(target, x.round(), y, threat=ROOMY, draws=image_draws(len(x)))
    assert x_adv.isfinite().all()


@pytest.mark.parametrize("noise", [(), (Noise(),)], ids=["fixed", "random"])
def test_neither_batch_size_nor_neighbours_change_an_image(noise):
    def run(which, batch_size):
        target, x, y = nonlinear_target(*noise, eot=2 if noise else 1, batch_size=batch_size)
        draws = image_draws(len(x)).take(which)
        return SHORT(target, x[which], y[which], threat=SMALL, draws=draws)

    everyone = torch.arange(23)
    images = run(everyone, 64)
    for which, batch_size in ((everyone, 7), (everyone.flip(0), 64), (everyone[4:7], 1)):
        torch.testing.assert_close(run(which, batch_size), images[which], rtol=0, atol=1e-6)


def test_leaving_early_changes_no_verdict_and_spares_passes():
    verdicts, passes = [], []
    for leaves_early in (True, False):
        target, x, y = nonlinear_target(Same(), leaves_early=leaves_early)
        x_adv = SHORT(target, x, y, threat=SMALL, draws=image_draws(len(x)))
        verdicts.append(fooled_by_any(target.victim, x_adv, y, target))
        passes.append(target.backwards)
    assert torch.equal(*verdicts)
    assert 0 < int(verdicts[0].sum()) < len(verdicts[0])
    assert passes[0] < passes[1]


def test_the_same_draws_give_the_same_image():
    target, x, y = nonlinear_target(Noise(), eot=2)
    once, again = (SHORT(target, x, y, threat=SMALL, draws=image_draws(len(x))) for _ in range(2))
    assert torch.equal(once, again)


@pytest.mark.parametrize(
    "wrong",
    [
        {"steps": 0},
        {"binary_search_steps": 0},
        {"initial_const": 0.0},
        {"step_size": 0.0},
        {"confidence": -1.0},
    ],
)
def test_wrong_arguments_are_refused_in_one_line(wrong):
    with pytest.raises(BenchError, match=next(iter(wrong))) as caught:
        CW(**wrong)(linear_target(TASK), TASK.x, TASK.y, threat=ROOMY, draws=image_draws(4))
    assert "\n" not in str(caught.value)


def test_an_linf_threat_is_refused_in_one_line():
    with pytest.raises(BenchError, match="works under l2 and the threat is linf"):
        CW()(
            linear_target(TASK),
            TASK.x,
            TASK.y,
            threat=Threat.parse("linf:0.1"),
            draws=image_draws(4),
        )
