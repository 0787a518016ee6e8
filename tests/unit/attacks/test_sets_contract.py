"""The attacks of threats that are no lp balls: what every attack promises, each under its own threat."""

import pytest
import torch
from torch import nn

from attacks.fgsm import FGSM
from attacks.local_search import LocalSearch
from attacks.pgd import PGD
from attacks.rotation_translation import RotationTranslation
from attacks.rp2 import RP2
from attacks.stadv import StAdv
from attacks.wasserstein import Wasserstein
from benchmark.engine.attacking.target import Target
from benchmark.engine.threat import EXAMPLES, Threat
from benchmark.engine.victims.classifier import Classifier
from benchmark.engine.victims.purified import Purified
from benchmark.errors import BenchError
from benchmark.selftest.attack_contract import run_attack_checks
from benchmark.selftest.attack_probe import AttackSubject
from benchmark.selftest.closed_forms import LinearTask, fooled_by_any
from tests.helpers.toy_plugins import Noise, image_draws, linear_target, nonlinear_target

TASK = LinearTask.make(n=2)
EVERY = {
    "stadv": (StAdv(steps=4), "stadv:0.3"),
    "grid": (RotationTranslation(rotations=3, shifts=3), "spatial:1"),
    "worst of k": (RotationTranslation(search="random", k=6), "spatial:1"),
    "wasserstein": (Wasserstein(steps=4, window=3), "wasserstein:0.1"),
    "rp2": (RP2(steps=4, restarts=2, views=3), "sticker:0.2"),
    "rp2 in the middle": (RP2(steps=4, placement="centre", target_class=2), "sticker:0.2"),
    "local search": (LocalSearch(rounds=4, t=1), "pixels:3"),
    "local search, extremes": (LocalSearch(rounds=4, t=2, change="extremes"), "pixels:3"),
}
every = pytest.mark.parametrize("name", EVERY)


def made(name, target, x, y, draws):
    attack, threat = EVERY[name]
    return attack(target, x, y, threat=Threat.parse(threat), draws=draws)


@every
def test_an_attack_of_a_set_keeps_its_contract(name):
    found = run_attack_checks(AttackSubject(EVERY[name][0]))
    assert [f"{each.name}: {each.detail}" for each in found if not each.passed] == []


@every
def test_leaving_early_changes_no_verdict(name):
    verdicts, passes = [], []
    for leaves_early in (True, False):
        target, x, y = nonlinear_target(leaves_early=leaves_early)
        x_adv = made(name, target, x, y, image_draws(len(x)))
        verdicts.append(fooled_by_any(target.victim, x_adv, y, target))
        passes.append(target.forwards)
    assert torch.equal(*verdicts)
    assert 0 < int(verdicts[0].sum()) < len(verdicts[0])
    assert passes[0] < passes[1]


@every
def test_images_that_are_wrong_from_the_start_are_no_trouble(name):
    target, x, y = nonlinear_target(leaves_early=True)
    x_adv = made(name, target, x, (y + 1) % 6, image_draws(len(x)))
    assert fooled_by_any(target.victim, x_adv, (y + 1) % 6, target).all()


def unmoved(*defenses, eot=1) -> tuple[Target, torch.Tensor, torch.Tensor]:
    """A victim that calls every image 0, more or less surely, and six grey images of 6 x 6."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(36, 4, dtype=torch.float64))
    with torch.no_grad():
        network[1].weight.mul_(1e-3)
        network[1].bias.copy_(torch.tensor([9.0, 0, 0, 0]))
    classifier = Classifier(network, name="unmoved", classes=4, sha256="")
    x = 0.4 + 0.2 * image_draws(6).uniform((1, 6, 6), dtype=torch.float64)
    target = Target(Purified(list(defenses), classifier), classes=4, eot=eot, leaves_early=True)
    return target, x, torch.zeros(6, dtype=torch.int64)


@pytest.mark.parametrize("noise", [(), (Noise(),)], ids=["fixed", "random"])
@pytest.mark.parametrize("eot", [1, 3])
@every
def test_a_victim_that_is_never_fooled_costs_exactly_what_was_said(name, eot, noise):
    target, x, y = unmoved(*noise, eot=eot)
    attack, _ = EVERY[name]
    x_adv = made(name, target, x, y, image_draws(6))
    said = attack.passes(classes=4, eot=eot, stochastic=bool(noise), shape=(1, 6, 6))
    if "local" in name:  # a spent budget leaves fewer pixels to ask for
        assert 6 * eot < target.forwards < 6 * said.forwards
    else:
        assert (target.forwards, target.backwards) == (6 * said.forwards, 6 * said.backwards)
    assert x_adv.shape[1] == said.candidates


def test_local_search_asks_for_all_that_it_said_while_pixels_are_left():
    target, x, y = unmoved()
    attack = LocalSearch(rounds=4, t=1, start=1.0, d=6, probes=20)
    attack(target, x, y, threat=Threat.parse("pixels:36"), draws=image_draws(6))
    said = attack.passes(classes=4, eot=1, stochastic=False, shape=(1, 6, 6))
    assert target.forwards == 6 * said.forwards == 6 * (1 + 4 * 21)


@every
def test_an_attack_is_refused_under_every_threat_that_is_not_its_own(name):
    attack, own = EVERY[name]
    target = linear_target(TASK)
    others = [text for kind, text in EXAMPLES.items() if kind not in attack.norms]
    assert len(others) == (4 if name == "stadv" else 6)
    for text in others:
        threat = Threat.parse(text)
        with pytest.raises(BenchError) as caught:
            attack(target, TASK.x, TASK.y, threat=threat, draws=image_draws(2))
        message = str(caught.value)
        assert text in message
        assert own.partition(":")[0] in message
        assert "\n" not in message
    assert target.forwards == 0


@pytest.mark.parametrize("attack", [PGD(), FGSM()], ids=lambda attack: attack.name)
@pytest.mark.parametrize("text", [text for text in EXAMPLES.values() if text[0] != "l"])
def test_an_lp_attack_is_refused_where_there_is_no_ball(attack, text):
    with pytest.raises(BenchError, match=f"works under l2, linf and the threat is {text}"):
        attack(linear_target(TASK), TASK.x, TASK.y, threat=Threat.parse(text), draws=image_draws(2))


@pytest.mark.parametrize(
    ("attack", "said"),
    [
        (StAdv(bound=0.4), "stadv:0.3"),
        (RotationTranslation(search="hexagonal"), "spatial:1"),
        (RotationTranslation(rotations=0), "spatial:1"),
        (RotationTranslation(k=0), "spatial:1"),
        (RotationTranslation(candidates=0), "spatial:1"),
        (Wasserstein(steps=0), "wasserstein:0.1"),
        (Wasserstein(window=4), "wasserstein:0.1"),
        (Wasserstein(loss="hinge"), "wasserstein:0.1"),
        (RP2(placement="left"), "sticker:0.1"),
        (RP2(loss="hinge"), "sticker:0.1"),
        (RP2(views=0), "sticker:0.1"),
        (RP2(brightness=1.0), "sticker:0.1"),
        (RP2(target_class=7), "sticker:0.1"),
        (RP2(), "sticker:0.01"),
        (LocalSearch(r=1.0), "pixels:3"),
        (LocalSearch(start=0.0), "pixels:3"),
        (LocalSearch(t=0), "pixels:3"),
        (LocalSearch(change="all"), "pixels:3"),
    ],
)
def test_wrong_arguments_are_refused_in_one_line(attack, said):
    with pytest.raises(BenchError, match=attack.name) as caught:
        attack(linear_target(TASK), TASK.x, TASK.y, threat=Threat.parse(said), draws=image_draws(2))
    assert "\n" not in str(caught.value)
