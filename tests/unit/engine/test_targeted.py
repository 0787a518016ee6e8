"""Goals: which class each image is driven to, and what it costs to know."""

import pytest
import torch

from attacks.cw import CW
from attacks.cw_linf import CWLinf
from attacks.ddn import DDN
from attacks.ifgsm import IFGSM
from attacks.mim import MIM
from attacks.pgd import PGD
from benchmark.engine.attacking.losses import cross_entropy
from benchmark.engine.attacking.minimum_norm import MinimumNormSearch
from benchmark.engine.attacking.targeted import Goal, goal_of, passes_of_aim
from benchmark.engine.threat import Norm, Threat
from benchmark.errors import BenchError
from benchmark.selftest.closed_forms import LinearTask, fooled_by_any, linear_failures
from tests.helpers.toy_plugins import Noise, image_draws, linear_target, nonlinear_target

TASK = LinearTask.make(n=4)
LINF, L2 = Threat.parse("linf:0.4"), Threat.parse("l2:5")


def aim(target, x, y, **options):
    return goal_of(target, x, y, draws=image_draws(len(x)), **options)


def test_least_likely_is_the_wrong_class_of_lowest_logit():
    target, x, y = nonlinear_target()
    logits = target.bare_logits(x)
    assert torch.equal(aim(target, x, y, target_class="least-likely").classes, logits.argmin(1))
    lowest = logits.argmin(1)
    second = logits.topk(2, dim=1, largest=False).indices[:, 1]
    assert torch.equal(aim(target, x, lowest, target_class="least-likely").classes, second)


def test_a_random_goal_is_any_wrong_class_and_the_images_own():
    target, x, y = nonlinear_target()
    n = 3000
    many, labels = x[:1].expand(n, -1, -1, -1), torch.full((n,), 2)
    goals = aim(target, many, labels, target_class="random").classes
    counts = goals.bincount(minlength=6).double() / n
    expected = torch.tensor([0.2, 0.2, 0.0, 0.2, 0.2, 0.2], dtype=torch.float64)
    torch.testing.assert_close(counts, expected, rtol=0, atol=0.04)
    some = goal_of(
        target,
        x[5:9],
        y[5:9],
        target_class="random",
        draws=image_draws(23).take(torch.arange(5, 9)),
    )
    assert torch.equal(some.classes, aim(target, x, y, target_class="random").classes[5:9])


def test_away_from_the_predicted_label_is_away_from_it_even_where_it_is_wrong():
    target, x, y = nonlinear_target()
    wrong = (y + 1) % 6
    assert torch.equal(aim(target, x, wrong, labels="predicted").classes, y)
    assert torch.equal(aim(target, x, wrong).classes, wrong)


def test_towards_a_goal_a_loss_turns_its_sign():
    logits, classes = torch.randn(3, 4, generator=torch.Generator().manual_seed(1)), torch.arange(3)
    plain = cross_entropy(logits, classes)
    assert torch.equal(Goal(classes, is_goal=True).loss()(logits, classes), -plain)
    assert torch.equal(Goal(classes, is_goal=False).loss()(logits, classes), plain)


@pytest.mark.parametrize("eot", [1, 3])
@pytest.mark.parametrize(
    "options",
    [{"target_class": "least-likely"}, {"target_class": "random"}, {"labels": "predicted"}, {}],
    ids=str,
)
def test_it_costs_what_it_says(options, eot):
    target, x, y = nonlinear_target(Noise(), eot=eot)
    aim(target, x, y, **options)
    said = passes_of_aim(options.get("target_class"), labels=options.get("labels", "true"), eot=eot)
    assert target.forwards == said * len(x)


AIMED = {
    "pgd": (PGD(steps=40, keep="last"), LINF),
    "pgd l2": (PGD(steps=40, keep="last"), L2),
    "ifgsm": (IFGSM(steps=20), LINF),
    "mim": (MIM(steps=20, keep="last"), LINF),
    "mim l2": (MIM(steps=20, keep="last"), L2),
    "cw": (CW(steps=80, binary_search_steps=3, initial_const=1.0, step_size=0.05), L2),
    "cw-linf": (CWLinf(rounds=3, steps=60, initial_const=0.5), LINF),
    "ddn": (DDN(steps=60), L2),
}


@pytest.mark.parametrize("target_class", [2, "least-likely", "random"])
@pytest.mark.parametrize("name", AIMED)
def test_a_targeted_attack_reaches_its_goal_where_the_budget_is_wide(name, target_class):
    attack, threat = AIMED[name]
    attack = type(attack)(**attack.arguments() | {"target_class": target_class})
    target, x, y = nonlinear_target()
    goals = aim(target, x, y, target_class=target_class).classes
    x_adv = attack(target, x, y, threat=threat, draws=image_draws(len(x)))[:, 0]
    reached = target.bare_logits(x_adv).argmax(1)
    assert (goals != y).all()
    assert float((reached == goals).double().mean()) > 0.8  # of five wrong classes


@pytest.mark.parametrize(
    ("attack", "norm"),
    [
        (CW(steps=60, binary_search_steps=6, initial_const=0.1, step_size=0.02), Norm.L2),
        (DDN(steps=60), Norm.L2),
        (CWLinf(rounds=8, steps=40), Norm.LINF),
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_towards_the_rival_a_smallest_change_is_right_on_both_sides_of_the_margin(attack, norm):
    attack = type(attack)(**attack.arguments() | {"target_class": 0})
    assert linear_failures(attack, TASK, linear_target(TASK), norm) == []


@pytest.mark.parametrize("attack", [IFGSM(labels="predicted"), PGD(steps=25, labels="predicted")])
def test_away_from_the_predicted_label_misclassified_images_are_put_right(attack):
    """The flaw of attacks without labels: what was wrong when clean becomes robust."""
    target, wrong = linear_target(TASK), 1 - TASK.y
    threat = TASK.threat(Norm.LINF, 1.05)
    for labels, fooled in (("predicted", 0), ("true", 4)):
        attack = type(attack)(
            **attack.arguments() | {"labels": labels, **LAST.get(attack.name, {})}
        )
        x_adv = attack(target, TASK.x, wrong, threat=threat, draws=image_draws(4))
        assert int(fooled_by_any(target.victim, x_adv, wrong, target).sum()) == fooled


LAST = {"pgd": {"keep": "last"}}


@pytest.mark.parametrize(
    ("attack", "threat"),
    [(attack, threat) for attack, threat in AIMED.values()],
    ids=list(AIMED),
)
@pytest.mark.parametrize("wrong", [6, -1, True, "likely", 1.5])
def test_a_class_that_there_is_not_is_refused_in_one_line(attack, threat, wrong):
    target, x, y = nonlinear_target()
    attack = type(attack)(**attack.arguments() | {"target_class": wrong})
    with pytest.raises(BenchError, match="target_class") as caught:
        attack(target, x, y, threat=threat, draws=image_draws(len(x)))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "wrong", [{"labels": "mine"}, {"labels": "predicted", "target_class": 1}], ids=str
)
@pytest.mark.parametrize("kind", [PGD, IFGSM])
def test_labels_that_there_are_not_are_refused_in_one_line(kind, wrong):
    target, x, y = nonlinear_target()
    with pytest.raises(BenchError, match="labels") as caught:
        kind(**wrong)(target, x, y, threat=LINF, draws=image_draws(len(x)))
    assert "\n" not in str(caught.value)


GOAL, OTHER, OWN = [0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]
CLOSE = [1.0, 0.9, 0.0]


@pytest.mark.parametrize(
    ("shown", "best"),
    [
        ([(0.3, GOAL), (0.1, GOAL)], 1),
        ([(0.1, OTHER), (0.3, GOAL)], 1),
        ([(0.1, OTHER), (0.6, GOAL)], 0),
        ([(0.6, GOAL), (0.4, OTHER)], 1),
        ([(0.6, OTHER), (0.7, GOAL)], 1),
        ([(0.1, OWN), (0.2, CLOSE), (0.3, OWN)], 1),
        ([(0.7, GOAL), (0.6, GOAL), (0.1, CLOSE)], 1),
    ],
)
def test_of_two_iterates_the_better_one_is_kept(shown, best):
    """Under linf .5 and towards class 2: a find inside, a success inside, a find outside, the higher margin."""
    x, y = torch.zeros(1, 1, 1, 1), torch.zeros(1, dtype=torch.int64)
    towards = Goal(torch.tensor([2]), is_goal=True)
    smallest = MinimumNormSearch(linear_target(TASK), x, y, Threat(Norm.LINF, 0.5), aim=towards)
    for size, logits in shown:
        found = smallest.take_note(torch.full_like(x, size), torch.tensor([logits]))
        assert found.tolist() == [logits is GOAL]
    assert float(smallest.best) == pytest.approx(shown[best][0])
    assert float(smallest.images()) == pytest.approx(min(shown[best][0], 0.5))


@pytest.mark.parametrize("norm", list(Norm))
def test_a_random_victim_gets_the_smallest_change_and_the_same_one_on_the_rim(norm):
    attack = {Norm.LINF: CWLinf(rounds=3, steps=30), Norm.L2: DDN(steps=40)}[norm]
    target, threat = linear_target(TASK, Noise(sigma=0.01), eot=4), TASK.threat(norm, 1.5)
    x_adv = attack(target, TASK.x, TASK.y, threat=threat, draws=image_draws(4))
    assert x_adv.shape[:2] == (4, 2)
    small, rim = (x_adv[:, i] - TASK.x for i in range(2))
    torch.testing.assert_close(
        threat.size(TASK.x, x_adv[:, 1]), torch.full((4,), threat.eps).double()
    )
    assert (threat.size(TASK.x, x_adv[:, 0]) < 0.99 * threat.eps).all()
    cosine = torch.cosine_similarity(small.flatten(1), rim.flatten(1))
    torch.testing.assert_close(cosine, torch.ones_like(cosine))
    assert (TASK.room(x_adv)[:, 1] < TASK.room(x_adv)[:, 0]).all()
    assert (TASK.room(x_adv)[:, 1] < -0.5).all()
