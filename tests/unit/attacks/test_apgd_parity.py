"""Our APGD against pyautoattack's: the same queries from the same start, bit for bit."""

from itertools import pairwise

import pytest
import torch
from pyautoattack.autopgd_base import APGDAttack, APGDAttack_targeted
from torch import nn

from attacks.apgd import APGD
from benchmark.engine.attacking.target import Target
from benchmark.engine.threat import Threat
from benchmark.engine.victims.classifier import Classifier
from benchmark.engine.victims.purified import Purified
from tests.helpers.toy_plugins import image_draws

N, STEPS = 6, 60


class Recorder(nn.Module):
    """A network that keeps a copy of every batch it is shown with gradients."""

    def __init__(self, network):
        super().__init__()
        self.network = network
        self.queries = []

    def forward(self, x):
        if torch.is_grad_enabled():
            self.queries.append(x.detach().clone())
        return self.network(x)


@pytest.fixture(scope="module")
def network():
    with torch.random.fork_rng():
        torch.manual_seed(5)
        return nn.Sequential(
            nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 36, 10)
        ).requires_grad_(False)


@pytest.fixture(scope="module")
def points(network):
    x = image_draws(N, "points").uniform((3, 8, 8))
    return x, network(x).argmax(1)


def ours(network, points, threat, loss):
    recorder = Recorder(network)
    victim = Purified([], Classifier(recorder, name="net", classes=10, sha256=""))
    attack = APGD(loss=loss, steps=STEPS, targets=2)
    attack(Target(victim, classes=10), *points, threat=threat, draws=image_draws(N))
    return recorder.queries


def theirs(network, points, threat, loss, start, rank=2):
    recorder = Recorder(network)
    x, y = points
    options = {"n_iter": STEPS, "norm": "Linf" if threat.norm == "linf" else "L2"}
    if loss == "dlr-targeted":
        attack = APGDAttack_targeted(recorder, eps=threat.eps, **options)
        attack.y_target = network(x).sort(dim=1)[1][:, -rank]
    else:
        attack = APGDAttack(recorder, eps=threat.eps, loss=loss, **options)
    attack.init_hyperparam(x)
    attack.attack_single_run(x, y, x_init=start)
    return recorder.queries


@pytest.mark.parametrize("threat", ["linf:8/255", "linf:0.002", "l2:0.5", "l2:0.03"])
@pytest.mark.parametrize("loss", ["ce", "dlr", "dlr-targeted"])
def test_every_iterate_equals_upstream_bit_for_bit(network, points, loss, threat):
    threat = Threat.parse(threat)
    queries = ours(network, points, threat, loss)
    runs = 2 if loss == "dlr-targeted" else 1
    assert len(queries) == runs * (STEPS + 1)
    for run in range(runs):
        mine = queries[run * (STEPS + 1) : (run + 1) * (STEPS + 1)]
        reference = theirs(network, points, threat, loss, mine[0], rank=2 + run)
        assert len(reference) == STEPS + 1
        different = [
            i for i, (a, b) in enumerate(zip(mine, reference, strict=True)) if not torch.equal(a, b)
        ]
        assert different == []


def test_the_step_size_was_halved_and_the_iterates_went_back_on_the_way(network, points):
    """So that the parity above covers the checkpoints, and not only plain steps."""
    threat = Threat.parse("linf:8/255")
    queries = ours(network, points, threat, "dlr")
    moves = [float((b - a).abs().max()) for a, b in pairwise(queries)]
    assert max(moves[-5:]) < 0.3 * max(moves[:5])
