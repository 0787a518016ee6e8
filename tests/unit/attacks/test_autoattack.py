"""AutoAttack: truth, its own process, and what it leaves behind."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pyautoattack
import pytest
import torch

import attacks.autoattack
from attacks.autoattack import AutoAttack
from benchmark.engine.attacking.own_process import call_alone
from benchmark.engine.threat import Norm, Threat
from benchmark.engine.victims.victim import GradientMode
from benchmark.errors import BenchError, ContractBroken
from benchmark.selftest.closed_forms import LinearTask, linear_failures
from tests.helpers.child_processes import hear_interrupts, is_running, within
from tests.helpers.toy_plugins import (
    Noise,
    Quantised,
    Same,
    image_draws,
    linear_target,
    nonlinear_target,
)

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
TASK = LinearTask.make(n=3, classes=4, shape=(1, 6, 6))


class Brief(pyautoattack.AutoAttack):
    """The package, whose Square asks 500 times and not 5,000: what that finds is no matter of ours."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.square.n_queries = 500


@pytest.fixture
def in_this_process(monkeypatch):
    """Spares the seconds that a new process takes; upstream's marks on this one are wiped off."""
    monkeypatch.setattr(pyautoattack, "AutoAttack", Brief)
    monkeypatch.setattr(attacks.autoattack, "call_alone", lambda function, order: function(order))
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
def test_standard_succeeds_just_above_the_exact_margin_and_never_just_below(norm, defense, mode):
    target = linear_target(TASK, defense, mode=mode)
    assert linear_failures(AutoAttack(), TASK, target, norm) == []


@pytest.mark.usefixtures("in_this_process")
def test_its_images_are_those_of_the_package_called_by_hand():
    target, x, y = nonlinear_target(Same())
    x, y, draws = x[:4], y[:4], image_draws(4)
    threat = Threat(Norm.LINF, 0.05)
    images = AutoAttack()(target, x, y, threat=threat, draws=draws)
    network = target.victim.classifiers[0]

    class Plain(torch.nn.Module):
        def forward(self, images):
            return network(images.double()).float()

    seed = int(draws.at("autoattack").words(1).sum()) % 2**31
    theirs = pyautoattack.AutoAttack(
        Plain(), norm="Linf", eps=threat.eps, version="standard", device="cpu", seed=seed
    )
    theirs.verbose = False
    theirs.apgd_targeted.n_target_classes = theirs.fab.n_target_classes = target.classes - 1
    by_hand, said = theirs.run_standard_evaluation(x.float(), y, batch_size=4)
    torch.testing.assert_close(images[:, 0], by_hand.double(), rtol=0, atol=1e-7)
    assert 0 < int((said != y).sum()) < 4, "some fall and some stand, or nothing is compared"


@pytest.mark.usefixtures("in_this_process")
def test_a_stochastic_victim_gets_rand_and_a_deterministic_one_standard():
    run = {}
    for defense in (Noise(), Same()):
        target = linear_target(TASK, defense)
        threat = TASK.threat(Norm.LINF, 1.2)
        AutoAttack()(target, TASK.x, TASK.y, threat=threat, draws=image_draws(3))
        run[defense.name] = target
    assert run["noise"].backwards >= 20 * 101 * 3  # EOT 20, 101 gradients for APGD-CE alone
    assert run["same"].backwards == 101 * 3
    assert run["same"].trace == [0.0]


@pytest.mark.parametrize("norm", list(Norm))
@pytest.mark.usefixtures("in_this_process")
def test_rand_reaches_the_worst_point_of_a_random_victim_in_either_norm(norm):
    target, threat = linear_target(TASK, Noise(sigma=0.01)), TASK.threat(norm, 1.5)
    attack = AutoAttack(version="rand")
    x_adv = attack(target, TASK.x, TASK.y, threat=threat, draws=image_draws(3))
    worst = torch.full((3,), TASK.worst_room(threat), dtype=torch.float64)
    torch.testing.assert_close(TASK.room(x_adv[:, 0]), worst, rtol=0, atol=1e-3)


@pytest.mark.parametrize("norm", list(Norm))
@pytest.mark.usefixtures("in_this_process")
def test_plus_succeeds_just_above_the_exact_margin_in_either_norm(norm):
    target, threat = linear_target(TASK, Same()), TASK.threat(norm, 1.05)
    attack = AutoAttack(version="plus")
    x_adv = attack(target, TASK.x, TASK.y, threat=threat, draws=image_draws(3))
    assert (TASK.room(x_adv[:, 0]) < 0).all()
    assert target.trace == [0.0]


@pytest.mark.usefixtures("in_this_process")
def test_every_part_of_plus_runs_in_l2_and_finds_nothing_just_below_the_margin():
    """The linf side stands in test_passes.py."""
    target, threat = linear_target(TASK, Same()), TASK.threat(Norm.L2, 0.95)
    attack = AutoAttack(version="plus")
    attack(target, TASK.x, TASK.y, threat=threat, draws=image_draws(3))
    said = attack.passes(classes=4, eot=1, stochastic=False, shape=(1, 6, 6))
    spared = 4_500  # of Square's queries
    forwards = said.forwards - spared
    assert (target.forwards, target.backwards) == (3 * forwards, 3 * said.backwards)
    assert target.trace == [1.0]


@pytest.mark.usefixtures("in_this_process")
def test_its_warnings_come_back():
    target = linear_target(TASK, Noise())
    threat = TASK.threat(Norm.LINF, 1.5)
    attack = AutoAttack(version="standard")
    attack(target, TASK.x, TASK.y, threat=threat, draws=image_draws(3))
    assert any("randomized" in message for message in target.warnings)


def test_its_own_process_gives_the_same_and_leaves_our_generator_alone(monkeypatch):
    threat = TASK.threat(Norm.LINF, 1.05)
    torch.manual_seed(3)
    state = torch.get_rng_state()
    there = linear_target(TASK, Same())
    images = AutoAttack()(there, TASK.x, TASK.y, threat=threat, draws=image_draws(3))
    assert torch.equal(torch.get_rng_state(), state)
    monkeypatch.setattr(attacks.autoattack, "call_alone", lambda function, order: function(order))
    here = linear_target(TASK, Same())
    trace = sys.gettrace()
    with torch.random.fork_rng():
        again = AutoAttack()(here, TASK.x, TASK.y, threat=threat, draws=image_draws(3))
    sys.settrace(trace)
    assert torch.equal(images, again)
    assert (there.forwards, there.backwards) == (here.forwards, here.backwards)


@pytest.mark.parametrize(("classes", "version"), [(3, "standard"), (2, "rand"), (9, "quick")])
def test_too_few_classes_or_an_unknown_version_are_refused(classes, version):
    target = linear_target(TASK)
    target.classes = classes
    threat = TASK.threat(Norm.LINF, 1.0)
    with pytest.raises(BenchError, match="autoattack"):
        AutoAttack(version=version)(target, TASK.x, TASK.y, threat=threat, draws=image_draws(3))


def refuse(message):
    raise ContractBroken(message)


def test_a_mistake_of_the_users_comes_back_as_it_is():
    with pytest.raises(ContractBroken, match=r"^left the budget$"):
        call_alone(refuse, "left the budget")


def test_a_process_that_dies_is_never_taken_for_a_result():
    with pytest.raises(RuntimeError, match="ended with status 7"):
        call_alone(os._exit, 7)


GUARDLESS = """
import torch
from attacks.autoattack import AutoAttack
from benchmark.engine.threat import Norm
from benchmark.selftest.closed_forms import LinearTask, linear_failures
from tests.helpers.child_processes import hear_interrupts, is_running, within
from tests.helpers.toy_plugins import Same, image_draws, linear_target

class Mine(Same):
    name = "mine"
    def purify(self, x, *, draws):
        return 1 - (1 - x)

task = LinearTask.make(n=2, classes=4, shape=(1, 6, 6))
target = linear_target(task, Mine())
x_adv = AutoAttack()(
    target, task.x, task.y, threat=task.threat(Norm.LINF, 1.05), draws=image_draws(2)
)
print("fooled", int((task.room(x_adv) < 0).sum()))
"""


def test_a_script_without_a_main_guard_may_define_the_defense_itself(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(GUARDLESS)
    done = subprocess.run(
        [sys.executable, script],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stdout == "fooled 2\n", done.stderr


LINGERING = """
import os, pathlib, sys, time
from benchmark.engine.attacking.own_process import call_alone

def linger(path):
    pathlib.Path(path + ".part").write_text(str(os.getpid()))
    os.replace(path + ".part", path)
    time.sleep(120)

call_alone(linger, sys.argv[1])
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_no_process_is_left_when_the_caller_is_interrupted_or_killed(tmp_path, how):
    script, pid_file = tmp_path / "script.py", tmp_path / "pid"
    script.write_text(LINGERING)
    caller = subprocess.Popen(
        [sys.executable, script, pid_file],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stderr=subprocess.DEVNULL,
        preexec_fn=hear_interrupts,
    )
    try:
        assert within(90, pid_file.exists)
        pid = int(pid_file.read_text())
        assert is_running(pid)
        caller.send_signal(how)
        caller.wait(30)
        assert within(30, lambda: not is_running(pid))
    finally:
        caller.kill()
        caller.wait()
