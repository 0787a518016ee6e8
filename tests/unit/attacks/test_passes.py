"""What attacks say they cost: never less than what they ask, and exactly that where no image leaves early."""

import math
import sys

import pytest
import torch

import attacks.autoattack
import attacks.fast_autoattack
from attacks.apgd import APGD
from attacks.autoattack import AutoAttack
from attacks.auxiliary import AuxiliaryAware
from attacks.boundary import Boundary
from attacks.clean import Clean
from attacks.cw import CW
from attacks.cw_linf import CWLinf
from attacks.ddn import DDN
from attacks.deepfool import DeepFool
from attacks.fast_autoattack import FastAutoAttack
from attacks.fgsm import FGSM
from attacks.frozen_draw import FrozenDraw
from attacks.hopskipjump import HopSkipJump
from attacks.ifgsm import IFGSM
from attacks.mim import MIM
from attacks.nes import NES
from attacks.noise import RandomNoise
from attacks.pgd import PGD
from attacks.random_points import RandomPoints
from attacks.square import Square
from attacks.stadv import StAdv
from attacks.substitute import Substitute
from attacks.transfer import Transfer
from benchmark.engine.threat import Norm
from benchmark.estimate import write_costs as costs
from benchmark.evaluation.prepare.plan import make_plan
from benchmark.plugins import ATTACKS
from benchmark.records.protocol_files import parse_protocol
from benchmark.selftest.closed_forms import LinearTask
from tests.helpers.toy_plugins import Nervous, Noise, Same, image_draws, linear_target

N = 2
TASK = LinearTask.make(n=N, classes=4, shape=(1, 6, 6))
OWN = [
    Clean(),
    RandomNoise(),
    Transfer(),
    FGSM(random_start=True),
    PGD(steps=7, restarts=2),
    PGD(steps=7, restarts=2, keep="last"),
    PGD(steps=7, keep="max_margin"),
    APGD(steps=5),
    APGD(steps=40, restarts=2),
    APGD(steps=33, loss="dlr-targeted"),
    AuxiliaryAware(steps=5, lambdas=(0, 1, 2)),
    AuxiliaryAware(steps=5, lambdas=(0.5,), variant="A1"),
    AuxiliaryAware(steps=5, lambdas=(0, 1, 2), form="raw"),
    AuxiliaryAware(steps=5, projection=True),
    StAdv(steps=4),
    PGD(steps=3, labels="predicted"),
    PGD(steps=3, target_class="least-likely", restarts=2),
    PGD(steps=3, loss="margin", confidence=0.5),
    IFGSM(),
    IFGSM(steps=2, labels="predicted"),
    MIM(steps=5),
    MIM(steps=5, keep="last", target_class="least-likely"),
    CWLinf(rounds=2, steps=5, target_class="random"),
    NES(queries=31, directions=3, draws=2),
    NES(queries=31, directions=3, draws=2, guided=False),
    Square(queries=31, draws=3),
    RandomPoints(points=3),
    FrozenDraw(steps=4),
]
L2_ONLY = [
    CW(steps=7, binary_search_steps=3),
    CW(steps=4, binary_search_steps=2, target_class="least-likely"),
    DDN(steps=9),
    DDN(steps=4, levels=256, target_class="least-likely"),
]
ENDS_AT_THE_BOUNDARY = [DeepFool(steps=6), DeepFool(steps=4, candidates=2)]
"""Wherever that lies: on a linear victim an image is done after one step, and asks for two looks."""
UNDER_OTHER_THREATS = {"rotation-translation", "wasserstein", "rp2", "local-search"}
"""Those of sets that are no lp balls: in test_sets_contract.py."""
FIXED_ONLY = [FastAutoAttack(steps=20, queries=50), FastAutoAttack(steps=8, targets=1, queries=9)]
LABELS_ALONE = [HopSkipJump(queries=250, first=5, draws=2), Boundary(steps=20, draws=2)]
"""Which stop where they stand: how many labels a step takes depends on what the victim says."""
ONCE = [Substitute(rounds=2, epochs=1, draws=3)]
"""A batch is paid for, not an image."""
UPSTREAM = [AutoAttack(version=version) for version in ("standard", "rand", "plus")]
SLOW = [pytest.param(attack, marks=pytest.mark.slow) for attack in (FIXED_ONLY[0], *UPSTREAM)]


class Slopeless(Same):
    """Gives back every image as it is, with a gradient of 0."""

    def purify(self, x, *, draws):
        return x.detach() + 0 * x


def name(attack):
    return f"{attack.name} {attack.arguments()}"[:70]


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch):
    """Spares the seconds that new processes take; upstream's marks on this one are wiped off."""
    for module in (attacks.autoattack, attacks.fast_autoattack):
        monkeypatch.setattr(module, "call_alone", lambda function, order: function(order))
    trace = sys.gettrace()
    with torch.random.fork_rng():
        yield
    sys.settrace(trace)


def spent(attack, *defenses, share, eot=1):
    """What an attack says and what it asked, for one image, at a share of the exact margin."""
    sources = torch.stack([TASK.x] * 3, dim=1)
    target = linear_target(TASK, *defenses, eot=eot, leaves_early=True, sources=sources)
    looks = []
    inner = target.auxiliary_loss
    target.auxiliary_loss = lambda x, *, draws: looks.append(len(x)) or inner(x, draws=draws)
    said = attack.passes(
        classes=4, eot=eot, stochastic=target.victim.stochastic, shape=tuple(TASK.x.shape[1:])
    )
    threat = TASK.threat(Norm.L2 if attack in L2_ONLY else Norm.LINF, share)
    x_adv = attack(target, TASK.x, TASK.y, threat=threat, draws=image_draws(N))
    asked = (target.forwards / N, target.backwards / N, sum(looks) / N)
    return said, asked, x_adv.shape[1]


def test_every_attack_on_the_shelf_is_here():
    every = (*OWN, *L2_ONLY, *ENDS_AT_THE_BOUNDARY, *FIXED_ONLY, *UPSTREAM)
    every = (*every, *LABELS_ALONE, *ONCE)
    assert {attack.name for attack in every} | UNDER_OTHER_THREATS == set(ATTACKS._own)


@pytest.mark.parametrize("attack", [*OWN, *L2_ONLY, FIXED_ONLY[1], *SLOW], ids=name)
def test_a_fixed_victim_that_is_never_fooled_costs_exactly_what_was_said(attack):
    said, asked, candidates = spent(attack, Nervous(), share=0.3)
    assert asked == (said.forwards, said.backwards, said.auxiliary)
    if attack.name != "transfer":
        assert candidates == said.candidates


@pytest.mark.parametrize("eot", [1, 3])
@pytest.mark.parametrize("attack", [*OWN, *L2_ONLY], ids=name)
def test_a_random_victim_costs_exactly_what_was_said(attack, eot):
    said, asked, candidates = spent(attack, Noise(sigma=0.3), Nervous(), share=1.5, eot=eot)
    assert asked == (said.forwards, said.backwards, said.auxiliary)
    if attack.name != "transfer":
        assert candidates == said.candidates


@pytest.mark.parametrize("attack", [*OWN, *L2_ONLY], ids=name)
def test_where_gradients_are_averaged_there_are_as_many_candidates_as_was_said(attack):
    said, asked, candidates = spent(attack, Nervous(), share=0.3, eot=2)
    assert asked[1] == said.backwards
    if attack.name != "transfer":
        assert candidates == said.candidates


@pytest.mark.slow
def test_upstreams_rand_on_a_random_victim_that_is_never_fooled_costs_what_was_said():
    said, asked, _ = spent(AutoAttack(), Noise(sigma=1e-6), share=0.3)
    assert asked[:2] == (said.forwards, said.backwards)


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.9, 1.1, 3.0])
@pytest.mark.parametrize(
    "attack",
    [*OWN, *L2_ONLY, *ENDS_AT_THE_BOUNDARY, *FIXED_ONLY, *LABELS_ALONE, UPSTREAM[0]],
    ids=name,
)
def test_no_image_costs_more_than_was_said(attack, share):
    said, asked, _ = spent(attack, Same(), share=share)
    assert asked[0] <= said.forwards
    assert asked[1] <= said.backwards
    assert asked[2] <= said.auxiliary


@pytest.mark.parametrize("attack", LABELS_ALONE, ids=name)
def test_labels_of_a_random_victim_cost_no_more_than_was_said(attack):
    said, asked, candidates = spent(attack, Noise(sigma=0.1), share=1.2)
    assert said.forwards / 3 < asked[0] <= said.forwards
    assert candidates == said.candidates == 2


@pytest.mark.parametrize(("defense", "k"), [(Same(), 1), (Noise(), 3)], ids=["fixed", "random"])
def test_a_batch_pays_for_the_substitute_once(defense, k):
    attack, images = ONCE[0], LinearTask.make(n=8, classes=4, shape=(1, 6, 6)).x
    target = linear_target(TASK, defense, seeds=images)
    attack(target, TASK.x, TASK.y, threat=TASK.threat(Norm.LINF, 1.0), draws=image_draws(N))
    said = attack.passes(classes=4, eot=1, stochastic=k > 1, shape=(1, 6, 6))
    assert (said.forwards, said.shared) == (0, k * 150 * 2)
    assert target.forwards == k * len(images) * 2


@pytest.mark.parametrize("eot", [1, 3])
@pytest.mark.parametrize("attack", ENDS_AT_THE_BOUNDARY, ids=name)
def test_where_no_step_leads_anywhere_deepfool_costs_exactly_what_was_said(attack, eot):
    said, asked, _ = spent(attack, Slopeless(), share=1.5, eot=eot)
    assert asked[:2] == (said.forwards, said.backwards)


def test_an_image_that_falls_at_once_costs_less():
    said, asked, _ = spent(APGD(steps=40), Same(), share=3.0)
    assert asked[0] < said.forwards / 2


def test_autoattack_standard_asks_what_its_parts_ask():
    """APGD-CE, APGD-T, FAB-T and Square with 9 targets; 8 predictions for its checks."""
    said = AutoAttack().passes(classes=10, eot=1, stochastic=False, shape=(3, 32, 32))
    assert said.backwards == 101 + 9 * 101 + 9 * 100
    assert said.forwards == 8 + 103 + 920 + 1829 + 5004
    fast = FastAutoAttack().passes(classes=10, eot=1, stochastic=False, shape=(3, 32, 32))
    assert fast.backwards == said.backwards
    assert fast.forwards < said.forwards


def test_what_a_batch_pays_at_once_is_shared_by_the_images_of_a_shard():
    text = """
name: shared
version: 1
summary: one attack that trains a network for each batch
samples: 14
shard_size: 7
criterion: {draws: 1, vote: 1, any_of: 1}
attacks:
  - {id: clean, column: clean, knowledge: oblivious, attack: clean}
  - {id: copy, column: transfer, knowledge: black-box, attack: substitute, arguments: {rounds: 2, epochs: 1}}
"""
    protocol = parse_protocol(text.encode(), where="shared")
    spent, unknown = costs._spent(protocol, is_stochastic=False)
    attack = ATTACKS.get("substitute")(rounds=2, epochs=1)
    one = attack.passes(classes=costs.CLASSES, eot=1, stochastic=False, shape=costs.SHAPE)
    applied = costs._applied(protocol, is_stochastic=False)
    batches = [row.job.fixed_batch for row in make_plan(applied)[0]]
    assert batches == [0, 0], "an image's result is its own, whatever it shares a shard with"
    assert one.shared > 7
    assert (unknown, spent.forwards) == ((), one.forwards + math.ceil(one.shared / 7))
