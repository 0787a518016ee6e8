"""The faster equivalent of AutoAttack: truth, the same verdicts, its own process, and what it refuses."""

import sys

import pytest
import torch
from pyautoattack.fab_pt import FABAttack_PT

import attacks.autoattack
import attacks.fast_autoattack as module
from attacks.autoattack import AutoAttack
from attacks.fast_autoattack import FastAutoAttack
from benchmark.engine.threat import Norm, Threat
from benchmark.engine.victims.victim import GradientMode
from benchmark.errors import BenchError
from benchmark.evaluation.prepare.plugin_ids import plugin_of
from benchmark.plugins import ATTACKS
from benchmark.selftest.closed_forms import LinearTask, fooled_by_any, linear_failures
from tests.helpers.toy_plugins import (
    Noise,
    Quantised,
    Same,
    image_draws,
    linear_target,
    nonlinear_target,
)

pytestmark = pytest.mark.slow

TASK = LinearTask.make(n=3, classes=4, shape=(1, 6, 6))
SHORT = FastAutoAttack(steps=30, queries=200)


@pytest.fixture
def in_this_process(monkeypatch):
    """Spares the seconds that new processes take; upstream's marks on this one are wiped off."""
    for its in (attacks.autoattack, module):
        monkeypatch.setattr(its, "call_alone", lambda function, order: function(order))
    trace = sys.gettrace()
    with torch.random.fork_rng():
        yield
    sys.settrace(trace)


@pytest.mark.parametrize(
    ("norm", "defense", "mode"),
    [
        (Norm.LINF, Same(), GradientMode.EXACT),
        (Norm.L2, Same(), GradientMode.BPDA),
        (Norm.LINF, Quantised(), GradientMode.BPDA),
    ],
    ids=lambda value: getattr(value, "name", None),
)
@pytest.mark.usefixtures("in_this_process")
def test_it_succeeds_just_above_the_exact_margin_and_never_just_below(norm, defense, mode):
    target = linear_target(TASK, defense, mode=mode)
    assert linear_failures(SHORT, TASK, target, norm) == []


@pytest.mark.parametrize("text", ["linf:0.03", "linf:0.05"])
@pytest.mark.usefixtures("in_this_process")
def test_each_image_gets_the_verdict_that_autoattack_gives_it(text):
    """Among them images that are misclassified when clean, that fall, and that stand."""
    verdicts, passes = [], []
    for attack in (AutoAttack(version="standard"), FastAutoAttack()):
        target, x, y = nonlinear_target(Same())
        y[:2] = (y[:2] + 1) % 6
        x_adv = attack(target, x, y, threat=Threat.parse(text), draws=image_draws(len(x)))
        verdicts.append(fooled_by_any(target.victim, x_adv, y, target))
        passes.append(target.backwards)
    assert torch.equal(*verdicts)
    assert 2 < int(verdicts[0].sum()) < len(verdicts[0])
    assert passes[1] < passes[0]


@pytest.mark.usefixtures("in_this_process")
def test_without_any_gradient_square_finds_what_the_others_cannot():
    """Rounding has no gradient: where APGD and FAB stand still, random search does not."""
    target = linear_target(TASK, Quantised(), mode=GradientMode.EXACT)
    attack = FastAutoAttack(steps=3, queries=1500)
    x_adv = attack(target, TASK.x, TASK.y, threat=TASK.threat(Norm.LINF, 3.0), draws=image_draws(3))
    assert (TASK.room(x_adv[:, 0]) < 0).all()


def test_its_own_process_gives_the_same_and_leaves_our_generator_alone(monkeypatch):
    threat = TASK.threat(Norm.LINF, 0.98)
    torch.manual_seed(3)
    state = torch.get_rng_state()
    there = linear_target(TASK, Same())
    images = SHORT(there, TASK.x, TASK.y, threat=threat, draws=image_draws(3))
    assert torch.equal(torch.get_rng_state(), state)
    assert there.forwards > 3 * 30 * 2 * 3  # FAB was run
    monkeypatch.setattr(module, "call_alone", lambda function, order: function(order))
    here = linear_target(TASK, Same())
    with torch.random.fork_rng():
        again = SHORT(here, TASK.x, TASK.y, threat=threat, draws=image_draws(3))
    assert torch.equal(images, again)
    assert (there.forwards, there.backwards) == (here.forwards, here.backwards)
    assert here.trace == [1.0]


def test_no_process_is_started_where_no_image_is_left(monkeypatch):
    def never(function, order):
        raise AssertionError("a process was started")

    monkeypatch.setattr(module, "call_alone", never)
    for labels, share in ((TASK.y, 1.3), ((TASK.y + 1) % 4, 0.5)):
        target = linear_target(TASK, Same())
        threat = TASK.threat(Norm.LINF, share)
        SHORT(target, TASK.x, labels, threat=threat, draws=image_draws(3))
        assert target.trace == [0.0]


@pytest.mark.usefixtures("in_this_process")
def test_an_image_that_stands_comes_back_as_the_best_attempt():
    target = linear_target(TASK, Same())
    threat = TASK.threat(Norm.LINF, 0.9)
    x_adv = SHORT(target, TASK.x, TASK.y, threat=threat, draws=image_draws(3))[:, 0]
    assert (TASK.room(x_adv) < 0.2 * TASK.room(TASK.x)).all()


@pytest.mark.parametrize(
    ("attack", "victim"),
    [
        (SHORT, Noise()),
        (FastAutoAttack(steps=0), Same()),
        (FastAutoAttack(queries=0), Same()),
        (FastAutoAttack(targets=0), Same()),
    ],
    ids=["random", "steps", "queries", "targets"],
)
def test_a_random_victim_and_wrong_arguments_are_refused_in_one_line(attack, victim):
    target = linear_target(TASK, victim)
    with pytest.raises(BenchError, match="fast-autoattack") as caught:
        attack(target, TASK.x, TASK.y, threat=TASK.threat(Norm.LINF, 1.0), draws=image_draws(3))
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("in_this_process")
def test_too_few_classes_are_refused():
    target = linear_target(TASK)
    target.classes = 3
    with pytest.raises(BenchError, match="at least 4 classes"):
        SHORT(target, TASK.x, TASK.y, threat=TASK.threat(Norm.LINF, 1.0), draws=image_draws(3))


@pytest.mark.parametrize("norm", ["Linf", "L2"])
def test_fab_takes_upstreams_steps_and_computes_no_gradient_of_a_weight(norm):
    target, x, y = nonlinear_target()
    network = target.victim.classifiers[0].float().requires_grad_(True)
    options = {"norm": norm, "n_iter": 20, "eps": 0.1, "targeted": True, "n_target_classes": 2}
    images = []
    for kind in (module._Fab, FABAttack_PT):
        network.zero_grad()
        fab = kind(network, **options)
        with torch.random.fork_rng():
            images.append(fab.perturb(x.float(), y))
        grows = [parameter.grad is not None for parameter in network.parameters()]
        assert any(grows) == (kind is FABAttack_PT)
    assert torch.equal(*images)
    assert not torch.equal(images[0], x.float())


def test_its_key_hangs_on_apgds_source_too():
    apgd = ATTACKS.get("apgd")
    assert FastAutoAttack.parts == (apgd.name,)
    plain = plugin_of(SHORT, label="a")
    whole = plugin_of(SHORT, label="a", parts=[apgd])
    assert whole.source != plain.source
    assert whole.source != plugin_of(SHORT, label="a", parts=[AutoAttack]).source
