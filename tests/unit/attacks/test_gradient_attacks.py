"""IFGSM, MIM, DDN, C&W in linf, PGD on C&W's loss: their contract, and the smallest changes that they find."""

import pytest
import torch

from attacks.cw_linf import CWLinf
from attacks.ddn import DDN
from attacks.ifgsm import IFGSM
from attacks.mim import MIM
from attacks.pgd import PGD
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
LINF, L2 = Threat.parse("linf:0.04"), Threat.parse("l2:0.5")
ROOMY = {Norm.LINF: Threat.parse("linf:0.3"), Norm.L2: Threat.parse("l2:5")}
SMALLEST = {
    Norm.LINF: CWLinf(rounds=8, steps=40),
    Norm.L2: DDN(steps=60),
}
VICTIMS = {  # purifiers, gradient mode, whether images leave early
    "bare": ((), GradientMode.EXACT, True),
    "identity, exact": ((Same(),), GradientMode.EXACT, False),
    "quantised, bpda": ((Quantised(),), GradientMode.BPDA, False),
    "nervous, exact": ((Nervous(),), GradientMode.EXACT, True),
}
SHORT = [
    (IFGSM(), LINF),
    (IFGSM(steps=3, target_class="random"), L2),
    (MIM(), LINF),
    (MIM(keep="last"), L2),
    (CWLinf(rounds=4, steps=10, initial_const=0.1, step_size=0.2), LINF),
    (DDN(steps=30), L2),
    (DDN(steps=25, levels=256, init_eps=0.5), L2),
    (PGD(steps=8, loss="margin", confidence=0.1, random_start=False), LINF),
]
each_short = pytest.mark.parametrize(
    ("attack", "threat"), SHORT, ids=[f"{a.name} {t.norm} {i}" for i, (a, t) in enumerate(SHORT)]
)


@pytest.mark.parametrize("victim", VICTIMS)
@pytest.mark.parametrize("norm", list(Norm))
def test_a_smallest_change_is_right_on_both_sides_of_the_exact_margin(norm, victim):
    defenses, mode, leaves_early = VICTIMS[victim]
    target = linear_target(TASK, *defenses, mode=mode, leaves_early=leaves_early)
    assert linear_failures(SMALLEST[norm], TASK, target, norm) == []


@pytest.mark.parametrize(("norm", "excess"), [(Norm.LINF, 0.05), (Norm.L2, 0.005)])
def test_the_smallest_change_that_is_found_is_the_exact_margin(norm, excess):
    threat, target = ROOMY[norm], linear_target(TASK)
    x_adv = SMALLEST[norm](target, TASK.x, TASK.y, threat=threat, draws=image_draws(4))[:, 0]
    sizes = threat.size(TASK.x, x_adv) / TASK.margins[norm]
    assert (sizes > 1).all()
    assert (sizes < 1 + excess).all()
    assert (TASK.room(x_adv) < 0).all()


def test_a_change_larger_than_the_budget_is_moved_into_it_and_does_not_fool():
    target, threat = linear_target(TASK), TASK.threat(Norm.L2, 0.5)
    x_adv = DDN(steps=60)(target, TASK.x, TASK.y, threat=threat, draws=image_draws(4))
    sizes = threat.size(TASK.x, x_adv[:, 0])
    torch.testing.assert_close(sizes, torch.full_like(sizes, threat.eps))
    assert not fooled_by_any(target.victim, x_adv, TASK.y, target).any()


@each_short
def test_the_victim_is_shown_images_alone(attack, threat):
    target, seen = linear_target(TASK), []
    inner = target.victim.logits
    target.victim.logits = lambda x, **rest: seen.append(x.detach()) or inner(x, **rest)
    for x in (TASK.x * 0.1, 1 - TASK.x * 0.1):  # near black, near white
        attack(target, x, TASK.y, threat=ROOMY[threat.norm], draws=image_draws(4))
    shown = torch.cat(seen)
    assert (shown.min(), shown.max()) == (0, 1)


def test_rounded_iterates_of_ddn_lie_on_grey_levels_and_fool():
    x = (TASK.x * 255).round() / 255
    target = linear_target(TASK)
    attack = DDN(steps=60, levels=256)
    x_adv = attack(target, x, TASK.y, threat=ROOMY[Norm.L2], draws=image_draws(4))[:, 0]
    levels = x_adv * 255
    torch.testing.assert_close(levels, levels.round(), rtol=0, atol=1e-9)
    assert (TASK.room(x_adv) < 0).all()


def test_where_there_is_no_gradient_ddn_goes_anywhere_and_says_so():
    class Flat(Same):
        def purify(self, x, *, draws):
            return x.detach() + 0 * x

    target = linear_target(TASK, Flat())
    x_adv = DDN(steps=4)(target, TASK.x, TASK.y, threat=L2, draws=image_draws(4))[:, 0]
    assert target.zero_gradients == 4 * 4
    assert (L2.size(TASK.x, x_adv) > 0).any()


@pytest.mark.parametrize("norm", list(Norm))
def test_every_step_of_ifgsm_is_a_share_of_the_budget_and_all_make_the_whole(norm):
    threat = TASK.threat(norm, 0.5)
    for steps in (1, 2, 4, 8):
        target = linear_target(TASK)
        x_adv = IFGSM(steps=steps)(target, TASK.x, TASK.y, threat=threat, draws=image_draws(4))
        expected = torch.full((4,), threat.eps, dtype=torch.float64)
        torch.testing.assert_close(threat.size(TASK.x, x_adv[:, 0]), expected)
        assert target.backwards == 4 * steps


def test_momentum_goes_on_where_the_gradient_turns():
    """A slope that points up and, past .55, down: a signed step turns back at once, momentum at first not."""

    class Hill(Same):
        def purify(self, x, *, draws):
            return x - (x - 0.55).clamp_min(0) * 1.01  # past .55 the true image comes back

    x = TASK.x.clone()
    target = linear_target(TASK, Hill())
    images = {
        decay: MIM(steps=6, step_size=0.2, decay=decay, keep="last")(
            target, x, TASK.y, threat=Threat.parse("linf:0.2"), draws=image_draws(4)
        )
        for decay in (0.0, 1.0)
    }
    past = {decay: float((image > 0.59).double().mean()) for decay, image in images.items()}
    assert past[1.0] > past[0.0] + 0.1


def test_the_capped_margin_is_raised_to_the_confidence_and_no_step_further():
    step, kappa = 0.02, 0.5
    threat = ROOMY[Norm.LINF]
    attack = PGD(
        steps=80,
        step_size=step * TASK.margins[Norm.LINF],
        step_unit="pixel",
        loss="margin",
        confidence=kappa,
        random_start=False,
        keep="last",
    )
    target = linear_target(TASK)
    room = TASK.room(attack(target, TASK.x, TASK.y, threat=threat, draws=image_draws(4))[:, 0])
    assert (room <= -kappa + 1e-9).all()
    assert (room > -kappa - 2.0 * step - 1e-9).all()
    assert target.zero_gradients == 0  # a capped loss is flat: no sign of a masked gradient


@each_short
@pytest.mark.parametrize("noise", [(), (Noise(),)], ids=["fixed", "random"])
def test_neither_batch_size_nor_neighbours_change_an_image(attack, threat, noise):
    def run(which, batch_size):
        target, x, y = nonlinear_target(*noise, eot=2 if noise else 1, batch_size=batch_size)
        draws = image_draws(len(x)).take(which)
        return attack(target, x[which], y[which], threat=threat, draws=draws)

    everyone = torch.arange(23)
    images = run(everyone, 64)
    torch.testing.assert_close(run(everyone, 64), images, rtol=0, atol=0)
    for which, batch_size in ((everyone, 7), (everyone.flip(0), 64), (everyone[4:7], 1)):
        torch.testing.assert_close(run(which, batch_size), images[which], rtol=0, atol=1e-6)


@each_short
def test_leaving_early_changes_no_verdict(attack, threat):
    verdicts, passes = [], []
    for leaves_early in (True, False):
        target, x, y = nonlinear_target(Same(), leaves_early=leaves_early)
        x_adv = attack(target, x, y, threat=threat, draws=image_draws(len(x)))
        verdicts.append(fooled_by_any(target.victim, x_adv, y, target))
        passes.append(target.backwards)
    assert torch.equal(*verdicts)
    assert 0 < int(verdicts[0].sum()) < len(verdicts[0])
    returns_the_last = attack.name == "ifgsm" or getattr(attack, "keep", "") == "last"
    assert (passes[0] == passes[1]) == returns_the_last


@each_short
def test_images_that_are_wrong_from_the_start_and_pixels_of_0_and_1_are_no_trouble(attack, threat):
    for moved in (lambda x: x, torch.round):
        target, x, _ = nonlinear_target(leaves_early=True)
        x = moved(x)
        wrong = (target.bare_logits(x).argmax(1) + 1) % 6
        x_adv = attack(target, x, wrong, threat=threat, draws=image_draws(len(x)))
        assert x_adv.isfinite().all()
        if (
            "targeted" not in str(attack.arguments())
            and attack.arguments().get("target_class") is None
        ):
            assert fooled_by_any(target.victim, x_adv, wrong, target).all()
        assert target.trace[0] == 0.0


@pytest.mark.parametrize(
    ("attack", "candidates"), [(MIM(steps=3), 2), (MIM(steps=3, keep="last"), 1), (IFGSM(), 1)]
)
def test_a_random_victim_gets_the_last_iterate_and_that_of_best_mean_loss(attack, candidates):
    target = linear_target(TASK, Noise(), eot=2, leaves_early=True)
    x_adv = attack(target, TASK.x, TASK.y, threat=LINF, draws=image_draws(4))
    assert x_adv.shape == (4, candidates, *TASK.x.shape[1:])


@pytest.mark.parametrize(
    "attack",
    [
        IFGSM(steps=0),
        MIM(steps=0),
        MIM(step_size=0.0),
        MIM(decay=-0.5),
        MIM(keep="max"),
        MIM(step_unit="mm"),
        CWLinf(rounds=0),
        CWLinf(steps=0),
        CWLinf(initial_const=0.0),
        CWLinf(step_size=-1.0),
        CWLinf(confidence=-1.0),
        PGD(confidence=1.0),
        PGD(confidence=-1.0, loss="margin"),
        PGD(confidence="high", loss="margin"),
    ],
    ids=lambda attack: f"{attack.name} {attack.arguments()}"[:60],
)
def test_wrong_arguments_are_refused_in_one_line(attack):
    with pytest.raises(BenchError, match=attack.name) as caught:
        attack(linear_target(TASK), TASK.x, TASK.y, threat=LINF, draws=image_draws(4))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "wrong",
    [
        {"steps": 0},
        {"gamma": 0.0},
        {"gamma": 1.0},
        {"init_eps": 0.0},
        {"levels": 1},
        {"levels": -2},
    ],
    ids=str,
)
def test_wrong_arguments_of_ddn_are_refused_in_one_line(wrong):
    with pytest.raises(BenchError, match=next(iter(wrong))) as caught:
        DDN(**wrong)(linear_target(TASK), TASK.x, TASK.y, threat=L2, draws=image_draws(4))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("attack", "threat", "wanted"),
    [(DDN(), LINF, "works under l2 and"), (CWLinf(), L2, "works under linf and")],
    ids=["ddn", "cw-linf"],
)
def test_a_threat_of_the_other_norm_is_refused_in_one_line(attack, threat, wanted):
    with pytest.raises(BenchError, match=wanted) as caught:
        attack(linear_target(TASK), TASK.x, TASK.y, threat=threat, draws=image_draws(4))
    assert "\n" not in str(caught.value)
