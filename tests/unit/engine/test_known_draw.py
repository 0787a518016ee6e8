"""A known draw: what it costs a random victim that its attacker knows it, by closed forms."""

import pytest
import torch
from torch import nn

from attacks.apgd import APGD
from attacks.pgd import PGD
from benchmark.engine.criterion import Criterion, Rule
from benchmark.engine.judging.attack_batch import AttackBatch
from benchmark.engine.randomness import Draws
from benchmark.engine.threat import Norm, Threat
from benchmark.engine.victims.classifier import Classifier
from benchmark.engine.victims.defense import Defense, Derivative
from benchmark.engine.victims.purified import Purified
from benchmark.engine.victims.victim import GradientMode, KnownDraw
from benchmark.plugins import DEFENSES
from benchmark.selftest.closed_forms import LinearTask, linear_layer
from tests.helpers.toy_plugins import Noise, image_draws

PLACE = ("task", "test", "known")
TASK = LinearTask.make(n=40)
SIGMA = 0.03
ATTACKS = [PGD(steps=20, step_size=0.25, loss="margin"), APGD(steps=20, loss="pm")]


def judged(victim, x, y, threat, attack, eot=1, classes=5):
    batch = AttackBatch(
        victim=victim,
        attack=attack,
        threat=threat,
        x=x,
        y=y,
        draws=image_draws(len(x)),
        classes=classes,
        eot=eot,
        criterion=Criterion(draws=40, vote=5, any_of=5),
    )
    return batch.run().outcomes


@pytest.mark.parametrize("attack", ATTACKS, ids=["pgd", "apgd"])
def test_known_noise_is_no_defense_but_another_image_before_the_classifier(attack):
    """Each point falls exactly where the budget exceeds what room its own shifted image has."""
    gaussian = DEFENSES.get("gaussian")(sigma=SIGMA)
    known = KnownDraw(Purified([gaussian], TASK.classifier), PLACE)
    threat = TASK.threat(Norm.LINF, 1.0)
    found = judged(known, TASK.x, TASK.y, threat, attack)
    draws = image_draws(len(TASK.x))
    at_place = Draws.of(draws.seed, draws.images, *PLACE).at("stage", 0)
    shifted = gaussian(TASK.x, draws=at_place)
    left = TASK.room(shifted) - threat.eps * float(TASK.slope.abs().sum())
    assert 10 < int((left > 0).sum()) < 30  # noise decides, for some one way and for some the other
    for rule in Rule:
        assert [outcome.bits for outcome in found[rule]] == [str(int(room > 0)) for room in left]
    if attack.name == "pgd":  # which reaches the corner of the budget
        still = torch.tensor([outcome.margin for outcome in found[Rule.SINGLE]])
        stands = left > 0
        torch.testing.assert_close(still[stands].double(), left[stands], rtol=0, atol=1e-6)


class Turned(Defense):
    """Turns the second pixel round grey, or leaves it, by a coin for each draw."""

    name = "turned"
    stochastic = True
    gradient = Derivative.EXACT

    def purify(self, x, *, draws):
        sign = 2.0 * draws.integers(2).to(x.dtype) - 1.0
        second = 0.5 + sign.view(-1, 1, 1) * (x[..., 1] - 0.5)
        return torch.stack([x[..., 0], second], dim=-1)


def test_a_coin_that_the_attacker_knows_saves_nothing_and_one_that_he_does_not_saves_half():
    """The room is .1, the budget .08 a pixel: the second helps whoever knows which way it is turned."""
    weight = torch.tensor([[0.5, 0.5], [-0.5, -0.5]], dtype=torch.float64)
    layer = linear_layer(weight, torch.tensor([-0.5, 0.5], dtype=torch.float64))
    classifier = Classifier(nn.Sequential(nn.Flatten(), layer), name="sum", classes=2, sha256="")
    x = torch.tensor([0.6, 0.5], dtype=torch.float64).expand(12, 1, 1, 2)
    y = torch.zeros(12, dtype=torch.int64)
    victim, attack = Purified([Turned()], classifier), PGD(steps=20, step_size=0.25, loss="margin")

    def rate(who, eps, eot):
        outcomes = judged(who, x, y, Threat(Norm.LINF, eps), attack, eot, classes=2)[Rule.SINGLE]
        bits = "".join(outcome.bits for outcome in outcomes)
        return bits.count("1") / len(bits)

    known = KnownDraw(victim, PLACE)
    assert rate(known, 0.08, 1) == 0.0
    assert rate(known, 0.045, 1) == 1.0  # both pixels together take .09
    assert abs(rate(victim, 0.08, 16) - 0.5) < 0.1  # four standard errors of 480 coins


def test_it_is_one_draw_an_image_whoever_asks_and_however_often():
    noise = Noise()
    known = KnownDraw(Purified([noise], TASK.classifier), PLACE)
    draws = image_draws(3)
    for asked in (draws.at("attack", "pgd"), draws.at("select"), draws.at("score").repeat(4)):
        known.logits(TASK.x[asked.images], draws=asked, mode=GradientMode.EXACT)
    assert not known.stochastic
    assert len(set(noise.seen)) == 3
    assert len(noise.seen) == 3 + 3 + 12
