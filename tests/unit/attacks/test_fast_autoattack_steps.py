"""What fast-autoattack does in its own process and with what comes back, on a linear victim."""

from dataclasses import replace

import pytest
import torch

import attacks.fast_autoattack
from attacks.fast_autoattack import FastAutoAttack, _Fab
from benchmark.engine.attacking.external import AutoAttackCall
from benchmark.engine.threat import Norm
from benchmark.errors import BenchError
from benchmark.selftest.closed_forms import LinearTask
from tests.helpers.toy_plugins import Same, image_draws, linear_target

TASK = LinearTask.make(n=4, classes=4, shape=(1, 6, 6))
ATTACK = FastAutoAttack(steps=10, targets=2, queries=20)


@pytest.fixture
def orders(monkeypatch):
    """The orders of work for a process of its own, which is this one."""
    found = []

    def here(function, order):
        found.append(order)
        return function(order)

    monkeypatch.setattr(attacks.fast_autoattack, "call_alone", here)
    with torch.random.fork_rng():
        yield found


def after(share, attack=ATTACK):
    target = linear_target(TASK, Same(), batch_size=3)
    threat = TASK.threat(Norm.LINF, share)
    return target, attack(target, TASK.x, TASK.y, threat=threat, draws=image_draws(4))[:, 0]


def test_just_above_the_margin_every_image_falls_to_gradients_and_no_process_is_begun(orders):
    target, x_adv = after(1.05)
    assert (TASK.room(x_adv) < 0).all()
    assert (orders, target.trace) == ([], [0.0])


def test_just_below_it_none_does_and_all_go_on_with_fab_and_square(orders):
    target, x_adv = after(0.95)
    assert (TASK.room(x_adv) > 0).all()
    assert target.trace == [1.0]
    (order,) = orders
    assert torch.equal(order.x, TASK.x)
    assert (order.batch_size, order.rows) == (3, target.room.rows)
    assert 0 <= order.seed < 2**31
    said = ATTACK.passes(classes=4, eot=1, stochastic=False, shape=(1, 6, 6))
    assert (target.forwards, target.backwards) == (4 * said.forwards, 4 * said.backwards)
    other = FastAutoAttack(steps=10, targets=9, queries=20)
    most = FastAutoAttack(steps=10, targets=3, queries=20)
    assert other.passes(classes=4, eot=1, stochastic=False, shape=()) == most.passes(
        classes=4, eot=1, stochastic=False, shape=()
    )
    nothing = ATTACK.passes(classes=4, eot=1, stochastic=True, shape=())
    assert (nothing.forwards, nothing.backwards) == (0, 0)


def test_what_the_other_process_fools_comes_back_from_it_and_the_rest_as_it_was(
    orders, monkeypatch
):
    def half(function, order):
        orders.append(order)
        found = function(order)
        fooled = torch.tensor([True, False, False, True])
        return replace(found, x_adv=order.x + 0.001, fooled=fooled, rows=order.rows - 1)

    monkeypatch.setattr(attacks.fast_autoattack, "call_alone", half)
    target, x_adv = after(0.95)
    told = TASK.x + 0.001
    assert torch.equal(x_adv[[0, 3]], told[[0, 3]])
    assert not torch.isclose(x_adv[[1, 2]], told[[1, 2]]).all()
    assert target.trace == [0.5]
    assert target.room.rows < orders[0].rows


def test_the_other_process_fools_above_the_margin_by_fab_and_says_whom():
    with torch.random.fork_rng():
        target = linear_target(TASK, Same(), batch_size=3)
        threat = TASK.threat(Norm.LINF, 1.1)
        attack = FastAutoAttack(steps=20, targets=3, queries=2)
        order = AutoAttackCall(
            victim=target.victim,
            mode=target.mode,
            classes=4,
            x=TASK.x,
            y=TASK.y,
            threat=threat,
            batch_size=3,
            rows=3,
            seed=1,
        )
        found = attack._finish(order)
        assert found.fooled.all()
        assert (TASK.room(found.x_adv) < 0).all()
        below = replace(order, threat=TASK.threat(Norm.LINF, 0.9))
        left = attack._finish(below)
        assert not left.fooled.any()
        assert torch.allclose(left.x_adv, TASK.x)
        assert left.forwards > found.forwards  # Square had all of them to ask about


@pytest.mark.parametrize("argument", ["steps", "targets", "queries"])
def test_an_argument_below_one_is_refused_whatever_the_others_are(argument):
    with pytest.raises(
        BenchError, match=f"at least 1 step, target and query; got .*'{argument}': 0"
    ):
        after(1.05, FastAutoAttack(**{argument: 0}))


def test_fabs_gradients_have_the_shape_of_the_images_behind_the_one_class():
    task = LinearTask.make(n=2, classes=4, shape=(3, 4, 5))
    victim = linear_target(task, Same()).victim
    fab = _Fab(victim, norm="Linf", targeted=True, n_target_classes=1)
    gap, gradient = fab.get_diff_logits_grads_batch_targeted(task.x, task.y, (task.y + 1) % 4)
    assert gap.shape == (2, 1)
    assert gradient.shape == (2, 1, 3, 4, 5)
