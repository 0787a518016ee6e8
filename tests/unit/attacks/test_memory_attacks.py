"""Memory that runs out in attacks, verdicts, runs and training: the same outcomes and the same counts."""

from __future__ import annotations

import pytest
import torch

import attacks.autoattack
import attacks.fast_autoattack
from attacks.apgd import APGD
from attacks.autoattack import AutoAttack
from attacks.auxiliary import AuxiliaryAware
from attacks.fast_autoattack import FastAutoAttack
from attacks.fgsm import FGSM
from attacks.pgd import PGD
from benchmark.engine.criterion import Criterion
from benchmark.engine.judging.verdict import judge
from benchmark.engine.threat import Norm, Threat
from benchmark.engine.victims.defense import Defense, Derivative
from benchmark.errors import BenchError
from benchmark.evaluation.execute.run import run
from benchmark.selftest.closed_forms import LinearTask
from benchmark.training.attacks import training_attack
from tests.helpers.out_of_memory import Cramped, run_out_of_memory, times_freed
from tests.helpers.tiny_task import Noise as TinyNoise
from tests.helpers.tiny_task import request
from tests.helpers.toy_plugins import (
    Nervous,
    Noise,
    Same,
    image_draws,
    linear_target,
    nonlinear_target,
)

pytestmark = pytest.mark.slow

LINF = Threat(Norm.LINF, 0.05)
SEARCHES = {
    "pgd": PGD(steps=4, restarts=2),
    "apgd": APGD(steps=8, loss="dlr-targeted", targets=2),
    "fgsm": FGSM(random_start=True),
    "auxiliary": AuxiliaryAware(steps=3, lambdas=[0, 1]),
    "auxiliary-a1": AuxiliaryAware(steps=3, lambdas=[0, 1], variant="A1"),
    "projected": AuxiliaryAware(steps=3, projection=True),
}


@pytest.fixture(autouse=True)
def freed(monkeypatch):
    return times_freed(monkeypatch)


def attacked(attack, defenses, **cramped):
    """Images, victim and target of one attack on the small network, in float64."""
    target, x, y = nonlinear_target(*defenses, eot=3 if defenses[0].stochastic else 1)
    if cramped:
        target.victim = Cramped(target.victim, **cramped)
    images = attack(target, x, y, threat=LINF, draws=image_draws(len(x)))
    return images, target


@pytest.mark.parametrize(
    "cramped",
    [{"rows": 5}, {"rows": 1, "where": "backward"}, {"where": "anywhere"}],
    ids=lambda cramped: "-".join(map(str, cramped.values())),
)
@pytest.mark.parametrize("defenses", [(Nervous(),), (Noise(),)], ids=["fixed", "random"])
@pytest.mark.parametrize("name", SEARCHES)
def test_an_attack_that_runs_out_of_memory_finds_the_same_images_for_the_same_passes(
    name, defenses, cramped
):
    images, target = attacked(SEARCHES[name], defenses)
    again, tight = attacked(SEARCHES[name], defenses, **cramped)
    assert tight.victim.failures
    torch.testing.assert_close(again, images, rtol=0, atol=1e-9)
    assert (tight.forwards, tight.backwards) == (target.forwards, target.backwards)
    assert (tight.gradients, tight.zero_gradients) == (target.gradients, target.zero_gradients)
    assert tight.trace == pytest.approx(target.trace)


def test_a_pass_that_breaks_off_is_not_counted():
    target, x, _ = nonlinear_target()
    target.victim = Cramped(target.victim, rows=4)
    target.predict(x, draws=image_draws(len(x)))
    assert target.victim.failures > 0
    assert (target.forwards, target.backwards) == (len(x), 0)


@pytest.mark.parametrize("cramped", [{"rows": 7}, {"rows": 1}, {"where": "anywhere"}], ids=str)
def test_a_verdict_that_runs_out_of_memory_is_the_same_verdict(cramped):
    target, x, y = nonlinear_target(Noise(sigma=0.2))
    draws, criterion = image_draws(len(x)), Criterion(draws=6, vote=3, any_of=2)
    candidates = torch.stack((x, (x + 0.1).clamp(0, 1)), dim=1)
    expected, chosen = judge(target.victim, candidates, y, draws=draws, criterion=criterion)
    tight = Cramped(target.victim, **cramped)
    outcomes, images = judge(tight, candidates, y, draws=draws, criterion=criterion)
    assert tight.failures
    assert torch.equal(images, chosen)
    for rule in expected:
        assert [o.bits for o in outcomes[rule]] == [o.bits for o in expected[rule]]
        assert [o.rate for o in outcomes[rule]] == [o.rate for o in expected[rule]]


@pytest.mark.parametrize(
    "cramped", [{"rows": 1}, {"rows": 2, "where": "backward"}, {"where": "anywhere"}], ids=str
)
def test_autoattacks_batch_stays_whole_while_its_victim_runs_out_of_memory(monkeypatch, cramped):
    monkeypatch.setattr(attacks.autoattack, "call_alone", lambda function, order: function(order))
    task = LinearTask.make(n=3, classes=4, shape=(1, 6, 6))
    threat = task.threat(Norm.LINF, 1.05)
    found = []
    for is_cramped in (False, True):
        target = linear_target(task, Noise(sigma=1e-9))
        if is_cramped:
            target.victim = Cramped(target.victim, **cramped)
        attack = AutoAttack(version="standard")
        with torch.random.fork_rng():
            images = attack(target, task.x, task.y, threat=threat, draws=image_draws(3))
        found.append((images, target))
    (images, roomy), (again, tight) = found
    assert tight.victim.failures
    assert tight.room.rows < roomy.room.rows
    torch.testing.assert_close(again, images, rtol=0, atol=1e-6)
    assert (tight.forwards, tight.backwards) == (roomy.forwards, roomy.backwards)


@pytest.mark.parametrize("where", ["forward", "backward"])
def test_autoattack_on_an_image_that_never_fits_is_refused_in_one_line(monkeypatch, where):
    monkeypatch.setattr(attacks.autoattack, "call_alone", lambda function, order: function(order))
    target, x, y = nonlinear_target(Same())
    target.victim = Cramped(target.victim, rows=0, where=where)
    with (
        pytest.raises(BenchError, match="one image needs more memory"),
        torch.random.fork_rng(),
    ):
        AutoAttack()(target, x, y, threat=LINF, draws=image_draws(len(x)))


@pytest.mark.parametrize("cramped", [{"rows": 2}, {"rows": 2, "where": "backward"}], ids=str)
def test_fast_autoattack_finds_the_same_while_its_victim_runs_out_of_memory(monkeypatch, cramped):
    monkeypatch.setattr(
        attacks.fast_autoattack, "call_alone", lambda function, order: function(order)
    )
    found = []
    for is_cramped in (False, True):
        target, x, y = nonlinear_target(Same())
        if is_cramped:
            target.victim = Cramped(target.victim, **cramped)
        with torch.random.fork_rng():
            attack = FastAutoAttack(steps=5, targets=2, queries=20)
            found.append((attack(target, x, y, threat=LINF, draws=image_draws(len(x))), target))
    (images, roomy), (again, tight) = found
    assert tight.victim.failures
    assert tight.room.rows <= 2 < roomy.room.rows
    torch.testing.assert_close(again, images, rtol=0, atol=1e-5)
    assert (tight.forwards, tight.backwards) == (roomy.forwards, roomy.backwards)


class Bulky(TinyNoise):
    """A purifier that takes too much memory above so many rows."""

    name = "bulky"
    rows = 3

    def purify(self, x, *, draws):
        if len(x) > self.rows:
            run_out_of_memory()
        return super().purify(x, draws=draws)


def test_a_run_that_runs_out_of_memory_ends_with_the_same_entry(tmp_path):
    def facts(entry):
        return {
            row.id: (row.outcomes, row.cost.forwards_per_image, row.cost.backwards_per_image)
            for row in (*entry.attacks, *entry.sources)
        } | {"worst": entry.per_image.worst, "status": entry.status}

    roomy = run(request(tmp_path / "roomy", defense=TinyNoise()))
    assert facts(run(request(tmp_path / "tight", defense=Bulky()))) == facts(roomy)


class Huge(Defense):
    """Fits clean images, and no attack: its backward pass takes more memory than there is, even for one."""

    name = "huge"
    stochastic = False
    gradient = Derivative.EXACT

    def purify(self, x, *, draws):
        if x.requires_grad:
            run_out_of_memory()
        return x * 1.0


def test_an_image_that_never_fits_is_a_named_gap(tmp_path):
    entry = run(request(tmp_path, defense=Huge()))
    assert {gap.row for gap in entry.gaps} == {"pgd:exact", "aware"}
    assert all("one image needs more memory" in gap.reason for gap in entry.gaps)


def test_a_training_attack_never_cuts_the_batch_of_a_network_in_training_mode():
    target, x, y = nonlinear_target()
    network = target.victim.classifiers[0].network
    setting_like = type("S", (), {"classes": 6, "threat": LINF})()
    attack = training_attack("fgsm", setting_like)

    class Tight(torch.nn.Module):
        def forward(self, images):
            if len(images) > 4:
                run_out_of_memory()
            return network(images)

    module = Tight()
    with pytest.raises(BenchError, match="cannot be cut"):
        attack(module.train(), x, y, image_draws(len(x)))
    roomy = attack(network.eval(), x, y, image_draws(len(x)))
    tight = attack(module.eval(), x, y, image_draws(len(x)))
    torch.testing.assert_close(tight, roomy, rtol=0, atol=1e-12)
