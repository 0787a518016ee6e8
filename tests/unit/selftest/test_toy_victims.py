"""The truths that the self-test stands on, held to arithmetic that knows nothing of any attack."""

import pytest
import torch

from benchmark.engine.randomness import Draws
from benchmark.engine.threat import Norm
from benchmark.engine.victims.purified import Purified
from benchmark.engine.victims.victim import GradientMode
from benchmark.selftest.attack_cases import TRIALS, AttackCase
from benchmark.selftest.attack_checks import HOLDS, PINNED, wastes_no_step
from benchmark.selftest.closed_forms import LOGIT_GAP, LinearTask
from benchmark.selftest.toy_victims import SEEN, Coin, Masked

FEWER = {"pgd": 3, "auxiliary": 3, "apgd": 1}
"""One step less than the least that is enough in l2."""


def worst_corner(task, threat):
    """The lowest image for its class that budget and [0, 1] hold, by hand."""
    low, high = (task.x - threat.eps).clamp(0, 1), (task.x + threat.eps).clamp(0, 1)
    falls = (1 - 2 * task.y).view(-1, 1, 1, 1) * task.slope > 0
    return torch.where(falls, low, high)


@pytest.mark.parametrize("pinned", [0, PINNED])
def test_the_linf_margin_is_exact_also_where_pixels_are_at_a_bound(pinned):
    task = LinearTask.make(n=6, pinned=pinned)
    assert torch.allclose(task.room(task.x), torch.tensor(LOGIT_GAP, dtype=torch.float64))
    assert (task.room(worst_corner(task, task.threat(Norm.LINF, 0.999))) > 0).all()
    assert (task.room(worst_corner(task, task.threat(Norm.LINF, 1.001))) < 0).all()


def test_pinned_pixels_are_where_the_attacker_would_push_them():
    task = LinearTask.make(n=6, pinned=PINNED)
    at_bound = (task.x == 0) | (task.x == 1)
    assert at_bound.flatten(1).sum(1).tolist() == [PINNED] * 6
    threat = task.threat(Norm.LINF, 1.0)
    moved = worst_corner(task, threat) != task.x
    assert not (moved & at_bound).any()
    assert (moved | at_bound).all()


def test_the_task_without_pinned_pixels_is_what_it_was():
    plain, pinned = LinearTask.make(n=4), LinearTask.make(n=4, pinned=0)
    assert torch.equal(plain.x, pinned.x)
    assert plain.margins == pinned.margins
    assert plain.margins[Norm.LINF] == pytest.approx(0.06)


def test_the_mask_lets_half_of_the_pixels_through_and_others_at_other_draws():
    x = torch.full((50, 1, 8, 8), 0.9, dtype=torch.float64, requires_grad=True)
    draws = Draws.of(0, torch.arange(50), "mask")
    out = Masked()(x, draws=draws)
    seen = out == x
    assert seen.double().mean().item() == pytest.approx(SEEN, abs=0.03)
    assert (out[~seen] == 0.5).all()
    (gradient,) = torch.autograd.grad(out.sum(), x)
    assert torch.equal(gradient != 0, seen)
    four = torch.stack([Masked()(x, draws=draws.at(i)) == x for i in range(4)]).any(0)
    assert four.double().mean().item() == pytest.approx(1 - 2.0**-4, abs=0.02)


def test_the_coin_is_right_as_often_as_it_says_whatever_it_is_shown():
    task = LinearTask.make(n=20)
    victim = Purified([Coin(right=0.7)], task.classifier)
    draws = Draws.of(0, torch.arange(20), "coin").repeat(100)
    shown = []
    for shift in (0.0, 1e-4, 0.01):
        x = (task.x + shift).repeat_interleave(100, 0)
        with torch.no_grad():
            logits = victim.logits(x, draws=draws, mode=GradientMode.EXACT)
        shown.append(logits.argmax(1) == task.y.repeat_interleave(100))
        assert shown[-1].double().mean().item() == pytest.approx(0.7, abs=0.045)
    both = (shown[0] & shown[1]).double().mean().item()
    assert both == pytest.approx(0.49, abs=0.05)  # two images, two coins


@pytest.mark.parametrize(
    "trial", [trial for trial in TRIALS if trial.attack in FEWER], ids=lambda trial: trial.title
)
def test_with_one_step_less_than_the_least_no_search_finds_the_margin(trial):
    fewer = {**trial.tight[Norm.L2], "steps": FEWER[trial.attack]}
    short = AttackCase(trial.title, trial.attack, trial.arguments, {Norm.L2: fewer})
    failures = list(wastes_no_step(short))
    assert any("not one step to spare" in failure for failure in failures)


def test_the_searches_of_the_protocols_are_held_to_their_steps():
    held = {trial.attack for trial in TRIALS if set(trial.tight) == set(trial.norms)}
    assert held >= {"fgsm", "pgd", "apgd", "auxiliary"}


def test_whoever_has_no_least_number_of_steps_is_not_said_to_keep_to_it():
    for trial in TRIALS:
        if not trial.tight:
            assert {"wastes_no_step", "draws_anew_over_rows"} <= set(trial.not_held)


def test_what_a_search_is_not_held_to_is_something_that_there_is():
    names = {hold.__name__ for hold in HOLDS}
    assert all(set(trial.not_held) <= names for trial in TRIALS)
