"""The Wasserstein attack against truth: linear programs solved by another hand."""

import numpy as np
import pytest
import torch
from scipy.optimize import linprog
from torch import nn

from attacks.wasserstein import Wasserstein, best_plan, without_excess
from benchmark.engine.attacking.perturbations import Transport, transported
from benchmark.engine.attacking.target import Target
from benchmark.engine.threat import NamedSet, Threat
from benchmark.engine.victims.classifier import Classifier
from benchmark.engine.victims.purified import Purified
from benchmark.selftest.closed_forms import LOGIT_GAP, LinearTask, fooled_by_any
from tests.helpers.toy_plugins import Noise, Same, image_draws, linear_target

SIDE = 4
PLACES = [(row, column) for row in range(SIDE) for column in range(SIDE)]
WAYS = np.array([[np.hypot(a - c, b - d) for c, d in PLACES] for a, b in PLACES])


def program(x, window):
    """Variables of a plan between all pixels of a channel: ways, what they sum up to, and their bounds."""
    c, n = len(x), SIDE**2
    ways = np.concatenate([WAYS.flatten()] * c)
    rows = np.kron(np.eye(c * n), np.ones(n))
    reach = np.array([[max(abs(a - e), abs(b - f)) for e, f in PLACES] for a, b in PLACES])
    allowed = np.concatenate([reach.flatten() <= window // 2] * c)
    return ways, rows, [(0, None if may else 0) for may in allowed]


def greatest(x, gradient, eps, window, is_bounded=False):
    """The most that a linear function of the image `(c, 4, 4)` can gain within the budget, and below 1."""
    ways, rows, bounds = program(x, window)
    g = gradient.flatten(1).numpy()
    gain = np.concatenate([(row[None] - row[:, None]).flatten() for row in g])
    fills = np.kron(np.eye(len(x)), np.kron(np.ones((1, SIDE**2)), np.eye(SIDE**2)))
    solved = linprog(
        -gain,
        A_ub=np.concatenate([ways[None], fills * is_bounded]),
        b_ub=[eps * float(x.sum()), *[1] * len(fills)],
        A_eq=rows,
        b_eq=x.flatten().numpy(),
        bounds=bounds,
    )
    assert solved.success
    return -solved.fun


def images(n=3, c=2):
    uniform = image_draws(n, "images").uniform((2, c, SIDE, SIDE), dtype=torch.float64)
    return uniform[:, 0], 2 * uniform[:, 1] - 1


@pytest.mark.parametrize("window", [3, 5, 7])
@pytest.mark.parametrize("eps", [0.01, 0.15, 0.6, 9.0])
def test_the_best_plan_is_that_of_a_linear_program(eps, window):
    x, gradient = images()
    plan = best_plan(x, gradient, eps, window)
    assert Transport.flaw(x, plan) == ""
    assert float(Transport.size(x, plan).max()) <= eps * (1 + 1e-9)
    gained = ((transported(x, plan) - x) * gradient).flatten(1).sum(1)
    expected = [greatest(x[i], gradient[i], eps, window) for i in range(len(x))]
    assert gained.tolist() == pytest.approx(expected, rel=1e-6)


def test_a_flat_function_moves_nothing_and_a_black_image_has_nothing_to_move():
    x, gradient = images()
    for given, slope in ((x, torch.zeros_like(x)), (torch.zeros_like(x), gradient)):
        plan = best_plan(given, slope, 0.5, 3)
        torch.testing.assert_close(transported(given, plan), given)


def exact_eps(task, i, window):
    """The least budget at which point i of a linear task changes sides, by a linear program."""
    x = task.x[i]
    ways, rows, bounds = program(x, window)
    g = (task.slope * (1 if int(task.y[i]) else -1)).flatten(1).numpy()
    gain = np.concatenate([(row[None] - row[:, None]).flatten() for row in g])
    solved = linprog(
        ways / float(x.sum()),
        A_ub=-gain[None],
        b_ub=[-LOGIT_GAP],
        A_eq=rows,
        b_eq=x.flatten().numpy(),
        bounds=bounds,
    )
    assert solved.success
    return solved.fun


@pytest.mark.parametrize("window", [3, 5])
def test_succeeds_just_above_the_exact_budget_and_never_just_below(window):
    task = LinearTask.make(n=3, shape=(2, SIDE, SIDE))
    attack, at = Wasserstein(steps=6, window=window), torch.arange(1)
    for i in range(len(task.x)):
        exact = exact_eps(task, i, window)
        assert exact < 0.5
        for share, expected in ((1.05, True), (0.95, False)):
            target = linear_target(task, Same(), leaves_early=True)
            threat = Threat(NamedSet.WASSERSTEIN, share * exact)
            x, y = task.x[at + i], task.y[at + i]
            x_adv = attack(target, x, y, threat=threat, draws=image_draws(1))
            assert bool(fooled_by_any(target.victim, x_adv, y, target)) is expected


@pytest.mark.parametrize("eps", [0.15, 0.5])
def test_where_white_is_in_the_way_it_comes_near_the_linear_program_that_knows_it(eps):
    """Black and white images: most pixels are full, and what matters is where there is room."""
    reached = []
    for seed in range(4):
        uniform = image_draws(1, str(seed)).uniform((2, 1, SIDE, SIDE), dtype=torch.float64)
        x, gradient = (2 * uniform[:, 0] - 0.3).clamp(0, 1), 2 * uniform[:, 1] - 1
        network = nn.Sequential(nn.Flatten(), nn.Linear(SIDE**2, 2, dtype=torch.float64))
        with torch.no_grad():
            network[1].weight.copy_(torch.stack((0 * gradient.flatten(), 0.1 * gradient.flatten())))
            network[1].bias.copy_(torch.tensor([9.0, 0.0]))
        classifier = Classifier(network, name="linear", classes=2, sha256="")
        target, threat = (
            Target(Purified([], classifier), classes=2),
            Threat.parse(f"wasserstein:{eps}"),
        )
        attack, y = Wasserstein(steps=100, loss="margin"), torch.zeros(1).long()
        x_adv = attack(target, x, y, threat=threat, draws=image_draws(1))[:, 0]
        best = greatest(x[0], gradient[0], eps, 5, is_bounded=True)
        assert best < greatest(x[0], gradient[0], eps, 5) + 1e-9
        reached.append(float(((x_adv - x) * gradient).sum()) / best)
    assert 0.95 < min(reached) <= max(reached) < 1 + 1e-6


def test_what_overfills_a_pixel_goes_back_and_the_plan_stays_possible():
    x, gradient = images(n=8)
    plan = best_plan(x, 9 * gradient, 0.8, 5)
    before = transported(x, plan)
    assert float(before.max()) > 1.5
    settled = without_excess(x, plan)
    made = transported(x, settled)
    assert -1e-12 <= float(made.min()) <= float(made.max()) <= 1 + 1e-12
    assert Transport.flaw(x, settled) == ""
    assert (Transport.size(x, settled) <= Transport.size(x, plan) + 1e-12).all()
    torch.testing.assert_close(made.sum((2, 3)), x.sum((2, 3)))
    kept = ((made - x) * gradient).sum() / ((before - x) * gradient).sum()
    assert 0.2 < float(kept) < 1


def test_a_long_way_back_through_white_loses_no_more_than_must_be():
    """Every pixel of a white bar is carried on by one; only the last of them has where to go."""
    x = torch.zeros(1, 1, 1, 40, dtype=torch.float64)
    x[..., :36] = 1.0
    plan = torch.zeros(1, 1, 9, 1, 40, dtype=torch.float64)
    plan[:, :, 5, :, 1:39] = 0.5 * x[..., 1:39]
    plan[:, :, 5, :, 35] = 0.0  # the bar's last pixel stays
    settled = without_excess(x, plan)
    torch.testing.assert_close(transported(x, settled), x, rtol=0, atol=1e-5)
    plan[:, :, 5, :, 35] = 0.5
    torch.testing.assert_close(
        transported(x, without_excess(x, plan)), transported(x, plan), rtol=0, atol=1e-9
    )


def test_a_plan_that_fills_nothing_above_1_is_left_as_it_is():
    x, gradient = images()
    plan = best_plan(0.3 * x, gradient, 0.05, 3)
    torch.testing.assert_close(
        transported(0.3 * x, without_excess(0.3 * x, plan)), transported(0.3 * x, plan)
    )


def test_of_a_random_victim_the_best_plan_and_the_last_are_candidates():
    task = LinearTask.make(n=3, shape=(2, SIDE, SIDE))
    target = linear_target(task, Noise(), eot=2)
    threat = Threat.parse("wasserstein:0.2")
    x_adv = Wasserstein(steps=3)(target, task.x, task.y, threat=threat, draws=image_draws(3))
    assert x_adv.shape[1] == 2
