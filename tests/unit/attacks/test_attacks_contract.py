"""The contract of attacks: what each one promises, and that a liar is caught at the door."""

import pytest
import torch

from attacks.apgd import APGD
from attacks.auxiliary import AuxiliaryAware
from attacks.clean import Clean
from attacks.fgsm import FGSM
from attacks.pgd import PGD
from attacks.transfer import Transfer
from benchmark.engine.attacking.attack import Attack
from benchmark.engine.attacking.losses import margin
from benchmark.engine.threat import Norm, Threat
from benchmark.errors import BenchError, ContractBroken
from benchmark.selftest.attack_contract import run_attack_checks
from benchmark.selftest.attack_probe import AttackSubject
from benchmark.selftest.closed_forms import LinearTask, fooled_by_any
from tests.helpers.toy_plugins import Noise, Same, image_draws, linear_target, nonlinear_target

LINF, L2 = Threat.parse("linf:0.04"), Threat.parse("l2:0.2")
TASK = LinearTask.make(n=4)
SEARCHES = [
    PGD(steps=10, step_size=0.2, restarts=2),
    PGD(steps=10, step_size=0.2, loss="dlr", keep="max_margin"),
    APGD(steps=15, restarts=2),
    APGD(steps=15, loss="dlr-targeted", targets=2),
    AuxiliaryAware(steps=10, step_size=0.2, lambdas=(0, 1)),
    AuxiliaryAware(steps=10, step_size=0.2, projection=True, variant="A1"),
    FGSM(random_start=True),
]
SEARCH_IDS = [f"{i} {attack.name}" for i, attack in enumerate(SEARCHES)]
each_search = pytest.mark.parametrize("attack", SEARCHES, ids=SEARCH_IDS)


class Liar(Attack):
    name = "liar"

    def __init__(self, *, lie):
        self.lie = lie

    def perturb(self, target, x, y, *, threat, draws):
        return self.lie(x)


def write_into(x):
    x[0] = 0.5
    return x.clone()


LIES = {
    "left the budget": lambda x: x + 0.05,
    "left [0, 1]": lambda x: torch.full_like(x, 1.03),
    "left the budget: linf nan": lambda x: x * float("nan"),
    "changed its input": write_into,
    "returned shape": lambda x: x[:, :, :-1],
    "returned shape (3": lambda x: x[:-1],
    "returned shape (4, 0": lambda x: x[:, :0],
}


@pytest.mark.parametrize("complaint", LIES)
def test_a_liar_is_caught_at_the_door(complaint):
    x = TASK.x + 0.0
    if complaint == "left [0, 1]":
        x = torch.full_like(x, 0.995)
    with pytest.raises(ContractBroken) as caught:
        Liar(lie=LIES[complaint])(linear_target(TASK), x, TASK.y, threat=LINF, draws=image_draws(4))
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_rounding_is_projected_and_not_refused():
    x_adv = Liar(lie=lambda x: x + LINF.eps * (1 + 2e-6))(
        linear_target(TASK), TASK.x, TASK.y, threat=LINF, draws=image_draws(4)
    )
    assert float(LINF.size(TASK.x, x_adv[:, 0]).max()) <= LINF.eps * (1 + 1e-12)


@each_search
def test_a_search_keeps_its_contract(attack):
    found = run_attack_checks(AttackSubject(attack))
    assert [f"{each.name}: {each.detail}" for each in found if not each.passed] == []


@pytest.mark.parametrize("threat", [LINF, L2], ids=["linf", "l2"])
@each_search
def test_leaving_early_changes_no_verdict(attack, threat):
    verdicts, passes = [], []
    for leaves_early in (True, False):
        target, x, y = nonlinear_target(Same(), leaves_early=leaves_early)
        x_adv = attack(target, x, y, threat=threat, draws=image_draws(len(x)))
        verdicts.append(fooled_by_any(target.victim, x_adv, y, target))
        passes.append(target.backwards)
    assert torch.equal(*verdicts)
    assert 0 < int(verdicts[0].sum()) < len(verdicts[0])
    full_length = getattr(attack, "keep", "") == "max_margin" or attack.name == "fgsm"
    if full_length or getattr(attack, "variant", "") == "A1":
        assert passes[0] == passes[1]
    else:
        assert passes[0] < passes[1]


@each_search
def test_images_that_are_wrong_from_the_start_are_no_trouble(attack):
    target, x, y = nonlinear_target(leaves_early=True)
    x_adv = attack(target, x, (y + 1) % 6, threat=LINF, draws=image_draws(len(x)))
    assert fooled_by_any(target.victim, x_adv, (y + 1) % 6, target).all()


def test_lee_and_kims_setting_can_be_said():
    attack = PGD(
        steps=200, step_size=0.007, step_unit="pixel", random_start=False, keep="last", loss="ce"
    )
    target, x, y = nonlinear_target(Noise(), eot=20, batch_size=1000)
    x_adv = attack(target, x[:2], y[:2], threat=Threat.parse("linf:8/255"), draws=image_draws(2))
    assert x_adv.shape == (2, 1, 3, 4, 4)
    assert target.backwards == target.forwards == 200 * 20 * 2


def test_a_pixel_step_is_as_long_as_it_says():
    attack = PGD(steps=1, step_size=0.007, step_unit="pixel", random_start=False, keep="last")
    x_adv = attack(linear_target(TASK), TASK.x, TASK.y, threat=LINF, draws=image_draws(4))
    torch.testing.assert_close((x_adv[:, 0] - TASK.x).abs(), torch.full_like(TASK.x, 0.007))


@pytest.mark.parametrize(
    ("attack", "candidates"),
    [
        (PGD(steps=3, restarts=2), 4),
        (PGD(steps=3, restarts=2, keep="last"), 2),
        (PGD(steps=3, restarts=2, keep="max_margin"), 2),
        (APGD(steps=3, restarts=2), 2),
        (APGD(steps=3, loss="dlr-targeted", targets=9), 4),
        (AuxiliaryAware(steps=3), 7),
        (AuxiliaryAware(steps=3, projection=True), 1),
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_a_random_victim_gets_the_candidates_of_every_run(attack, candidates):
    target = linear_target(TASK, Noise(), eot=2, leaves_early=True)
    x_adv = attack(target, TASK.x, TASK.y, threat=LINF, draws=image_draws(4))
    assert x_adv.shape == (4, candidates, *TASK.x.shape[1:])


def test_images_for_transfer_are_of_full_length_and_of_higher_margin():
    kept = {}
    for keep in ("best", "max_margin"):
        target, x, y = nonlinear_target(leaves_early=True)
        attack = PGD(steps=10, step_size=0.2, loss="margin", keep=keep)
        x_adv = attack(target, x, y, threat=LINF, draws=image_draws(len(x)))
        kept[keep] = margin(target.bare_logits(x_adv[:, 0]), y)
    assert target.backwards == 11 * len(x)
    fooled = kept["best"] > 0
    assert (kept["max_margin"] >= kept["best"] - 1e-12).all()
    assert (kept["max_margin"] > kept["best"])[fooled].any()


def test_apgd_measures_its_incumbent_again_at_every_checkpoint_of_a_random_victim():
    """100 steps have checkpoints after 22, 41, 57, 70, 80, 87, 93 and 99 steps."""
    target = linear_target(TASK, Noise(), eot=2)
    APGD(steps=100)(target, TASK.x, TASK.y, threat=LINF, draws=image_draws(4))
    assert target.backwards == (101 + 8) * 2 * 4


def test_transfer_shows_what_other_jobs_made():
    sources = torch.stack([TASK.x, TASK.x + 0.01], dim=1)
    target = linear_target(TASK, sources=sources)
    x_adv = Transfer()(target, TASK.x, TASK.y, threat=LINF, draws=image_draws(4))
    torch.testing.assert_close(x_adv, sources, rtol=0, atol=1e-12)
    assert target.forwards == 0


@pytest.mark.parametrize(
    "sources", [None, TASK.x, TASK.x[:3].unsqueeze(1), TASK.x[:, :, :3].unsqueeze(1)]
)
def test_transfer_without_fitting_images_is_refused(sources):
    target = linear_target(TASK, sources=sources)
    with pytest.raises(BenchError, match="sources"):
        Transfer()(target, TASK.x, TASK.y, threat=LINF, draws=image_draws(4))


@pytest.mark.parametrize(
    "attack",
    [
        PGD(loss="hinge"),
        PGD(keep="first"),
        PGD(step_unit="mm"),
        PGD(steps=0),
        PGD(step_size=-0.1),
        PGD(restarts=0),
        APGD(loss="hinge"),
        APGD(steps=0),
        APGD(targets=0),
        FGSM(loss="hinge"),
        AuxiliaryAware(variant="A3"),
        AuxiliaryAware(lambdas=()),
        AuxiliaryAware(lambdas=(-1.0,)),
        AuxiliaryAware(steps=0),
    ],
    ids=lambda attack: f"{attack.name} {attack.arguments()}"[:60],
)
def test_wrong_arguments_are_refused_in_one_line(attack):
    with pytest.raises(BenchError) as caught:
        attack(linear_target(TASK), TASK.x, TASK.y, threat=LINF, draws=image_draws(4))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("attack", "classes"),
    [
        (PGD(loss="dlr"), 2),
        (FGSM(loss="dlr"), 2),
        (APGD(loss="dlr"), 2),
        (APGD(loss="dlr-targeted"), 3),
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_a_loss_that_needs_more_classes_is_refused(attack, classes):
    target = linear_target(TASK)
    target.classes = classes
    with pytest.raises(BenchError, match="classes"):
        attack(target, TASK.x, TASK.y, threat=LINF, draws=image_draws(4))


def test_clean_gives_back_the_images_and_asks_nothing():
    target = linear_target(TASK)
    x_adv = Clean()(target, TASK.x, TASK.y, threat=LINF, draws=image_draws(4))
    assert torch.equal(x_adv[:, 0], TASK.x)
    assert target.forwards == 0


def test_the_trace_falls_from_clean_to_robust_accuracy():
    target = linear_target(TASK, leaves_early=True)
    threat = TASK.threat(Norm.LINF, 1.05)
    PGD(steps=20)(target, TASK.x, TASK.y, threat=threat, draws=image_draws(4))
    assert target.trace[0] == 1.0
    assert target.trace[-1] == 0.0
    assert sorted(target.trace, reverse=True) == target.trace
