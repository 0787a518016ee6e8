"""PGD towards a class: against the linear truth, and against what it says of itself."""

import pytest
import torch
from torch import nn

from attacks.pgd import PGD
from benchmark.engine.attacking.target import Target
from benchmark.engine.threat import Norm, Threat
from benchmark.engine.victims.classifier import Classifier
from benchmark.engine.victims.purified import Purified
from benchmark.errors import BenchError
from benchmark.selftest.closed_forms import LinearTask, linear_failures
from tests.helpers.toy_plugins import image_draws, linear_target

TASK = LinearTask.make(n=8)


@pytest.mark.parametrize("norm", list(Norm))
@pytest.mark.parametrize("keep", ["best", "last", "max_margin"])
def test_towards_the_rival_it_succeeds_just_above_the_margin_and_never_just_below(keep, norm):
    """Towards class 0: its own images go to class 1, the only other one that matters, and class 1's to 0."""
    attack = PGD(steps=14, step_size=0.25, keep=keep, target_class=0)
    assert linear_failures(attack, TASK, linear_target(TASK), norm) == []


def corners() -> tuple[Target, torch.Tensor]:
    """Images of one grey level, and a classifier each of whose five classes likes other pixels."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(25, 5, bias=False))
    with torch.no_grad():
        network[1].weight.zero_()
        for label in range(5):
            network[1].weight[label, 5 * label : 5 * label + 5] = 1.0
    classifier = Classifier(network, name="rows", classes=5, sha256="0")
    x = torch.full((5, 1, 5, 5), 0.5)
    for label in range(5):
        x[label, 0, label] += 0.1
    return Target(Purified([], classifier), classes=5), x


@pytest.mark.parametrize("target_class", [0, 3, 4])
def test_every_image_reaches_the_class_or_the_one_after_its_own(target_class):
    target, x = corners()
    y = torch.arange(5)
    attack = PGD(steps=10, step_size=0.25, keep="last", target_class=target_class)
    x_adv = attack(target, x, y, threat=Threat.parse("linf:0.2"), draws=image_draws(5))[:, 0]
    reached = target.victim.bare_logits(x_adv).argmax(1)
    expected = [target_class if label != target_class else (label + 1) % 5 for label in range(5)]
    assert reached.tolist() == expected


def test_it_costs_what_the_untargeted_attack_costs():
    place = {"classes": 5, "eot": 1, "stochastic": False, "shape": (1, 5, 5)}
    target, x = corners()
    attack = PGD(steps=6, keep="last", target_class=2)
    attack(target, x, torch.arange(5), threat=Threat.parse("linf:0.2"), draws=image_draws(5))
    said = attack.passes(**place)
    assert said == PGD(steps=6, keep="last").passes(**place)
    assert (target.forwards, target.backwards) == (5 * said.forwards, 5 * said.backwards)


@pytest.mark.parametrize(
    "wrong", [{"target_class": 5}, {"target_class": -1}, {"target_class": 1, "loss": "margin"}]
)
def test_a_class_that_there_is_not_or_another_loss_is_refused_in_one_line(wrong):
    target, x = corners()
    with pytest.raises(BenchError, match="target_class") as caught:
        PGD(**wrong)(
            target, x, torch.arange(5), threat=Threat.parse("linf:0.2"), draws=image_draws(5)
        )
    assert "\n" not in str(caught.value)
