"""HopSkipJump and the boundary attack: labels alone, held to the linear margin and to their queries."""

import warnings

import pytest
import torch

from attacks.boundary import Boundary
from attacks.hopskipjump import HopSkipJump
from attacks.pgd import PGD
from attacks.square import Square
from attacks.substitute import Substitute
from benchmark.engine.attacking.queries import (
    TRIES,
    Oracle,
    find_starts,
    majority_labels,
    to_boundary,
)
from benchmark.engine.attacking.target import Target
from benchmark.engine.threat import Norm
from benchmark.engine.victims.classifier import Classifier
from benchmark.engine.victims.purified import Purified
from benchmark.errors import BenchError
from benchmark.selftest.canaries import ZeroGradient
from benchmark.selftest.closed_forms import LinearTask, fooled_by_any
from tests.helpers.toy_plugins import Noise, Quantised, image_draws, linear_target

pytestmark = pytest.mark.slow

TASK = LinearTask.make(n=4, classes=4, shape=(1, 6, 6))
FAST = Boundary(steps=400, sideways=0.2, towards=0.02)
SHORT = [HopSkipJump(queries=900, first=20), FAST]
BOTH = pytest.mark.parametrize("attack", SHORT, ids=lambda attack: attack.name)
NORMS = pytest.mark.parametrize("norm", list(Norm))


def after(attack, *defenses, norm=Norm.LINF, share=1.5, task=TASK, **options):
    target = linear_target(task, *defenses, **options)
    draws = image_draws(len(task.x))
    return attack(target, task.x, task.y, threat=task.threat(norm, share), draws=draws), target


class LabelsOnly(Noise):
    """Fixed; refuses every gradient."""

    stochastic = False

    def purify(self, x, *, draws):
        assert not torch.is_grad_enabled()
        return x * 1.0


@NORMS
@BOTH
@pytest.mark.parametrize("defense", [LabelsOnly(), Quantised()], ids=["plain", "no gradient"])
def test_it_succeeds_above_the_exact_margin_and_never_below(attack, defense, norm):
    """In linf the boundary attack, which makes l2 small, needs more than HopSkipJump."""
    above = {Norm.LINF: 2.4, Norm.L2: 1.3}[norm] if attack is FAST else 1.2
    fallen, target = after(attack, defense, norm=norm, share=above, leaves_early=True)
    assert fooled_by_any(target.victim, fallen, TASK.y, target).all()
    assert target.backwards == 0
    assert target.trace[-1] == 0.0
    stood, target = after(attack, defense, norm=norm, share=0.95)
    assert not fooled_by_any(target.victim, stood, TASK.y, target).any()


@NORMS
@BOTH
def test_an_image_counts_only_within_eps(attack, norm):
    """One that fell farther away comes back inside the budget, as near to the boundary as it gets there."""
    x_adv, _ = after(attack, norm=norm, share=0.8)
    room = TASK.room(x_adv)
    assert (room > 0).all()
    assert (room < TASK.room(TASK.x)[:, None]).all()


@NORMS
@pytest.mark.parametrize("noise", [(), (Noise(),)], ids=["fixed", "random"])
@pytest.mark.parametrize(
    "attack",
    [HopSkipJump(queries=420, first=8, draws=3), Boundary(steps=25, draws=3)],
    ids=lambda attack: attack.name,
)
def test_neither_batch_size_nor_neighbours_change_an_image(attack, noise, norm):
    task = LinearTask.make(n=6, classes=4, shape=(2, 5, 6))

    def run(which, batch_size):
        target = linear_target(task, *noise, batch_size=batch_size)
        draws = image_draws(6).take(which)
        threat = task.threat(norm, 1.2)
        return attack(target, task.x[which], task.y[which], threat=threat, draws=draws)

    everyone = torch.arange(6)
    images = run(everyone, 64)
    assert images.shape[1] == (2 if noise else 1)
    for which, batch_size in ((everyone, 7), (everyone.flip(0), 64), (everyone[2:4], 1)):
        torch.testing.assert_close(run(which, batch_size), images[which], rtol=0, atol=1e-9)


@BOTH
def test_other_draws_are_another_walk_and_the_same_draws_the_same(attack):
    target = linear_target(TASK)
    threat = TASK.threat(Norm.L2, 1.0)
    first, again, other = (
        attack(target, TASK.x, TASK.y, threat=threat, draws=image_draws(4, name)) for name in "aab"
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@BOTH
def test_an_image_that_is_wrong_when_clean_is_asked_about_once(attack):
    target = linear_target(TASK, leaves_early=True)
    x_adv = attack(target, TASK.x, 1 - TASK.y, threat=TASK.threat(Norm.L2, 1), draws=image_draws(4))
    assert torch.equal(x_adv[:, 0], TASK.x)
    assert target.forwards == 4


@BOTH
def test_where_no_image_is_ever_wrong_it_says_so_and_gives_the_clean_one_back(attack):
    always = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(36, 4).double())
    with torch.no_grad():
        always[1].weight.zero_()
        always[1].bias.copy_(torch.tensor([1.0, 0, 0, 0]))
    victim = Purified([], Classifier(always, name="always", classes=4, sha256=""))
    target, y = Target(victim, classes=4), torch.zeros(4, dtype=torch.int64)
    x_adv = attack(target, TASK.x, y, threat=TASK.threat(Norm.L2, 1), draws=image_draws(4))
    assert torch.equal(x_adv[:, 0], TASK.x)
    assert target.forwards == 4 * (1 + TRIES)
    assert target.warnings == ["some images found no misclassified starting point"]


@pytest.mark.parametrize(
    ("attack", "norm", "sigma"),
    [
        (HopSkipJump(queries=5000), Norm.LINF, 0.05),
        (HopSkipJump(queries=5000), Norm.L2, 0.05),
        (FAST, Norm.L2, 0.02),
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_a_random_victims_images_come_back_on_the_rim_where_most_draws_are_wrong(
    attack, norm, sigma
):
    x_adv, _ = after(attack, Noise(sigma=sigma), norm=norm, share=1.5)
    threat = TASK.threat(norm, 1.5)
    for i in range(2):
        assert threat.size(TASK.x, x_adv[:, i]).allclose(torch.tensor(threat.eps).double())
    accuracy = TASK.gaussian_accuracy(TASK.room(x_adv), sigma).amin(1)
    assert float(accuracy.mean()) < 0.2


def test_a_random_victim_keeps_what_no_image_of_the_budget_can_take():
    x_adv, _ = after(HopSkipJump(queries=2000), Noise(sigma=0.02), norm=Norm.L2, share=0.7)
    accuracy = TASK.gaussian_accuracy(TASK.room(x_adv), 0.02)
    assert (accuracy > 0.99).all()


def test_the_gradient_masked_purifier_falls_to_queries_and_not_to_exact_gradients():
    threat = TASK.threat(Norm.LINF, 1.5)
    blind = linear_target(TASK, ZeroGradient())
    x_adv = PGD(steps=10)(blind, TASK.x, TASK.y, threat=threat, draws=image_draws(4))
    assert (TASK.room(x_adv) > 0).all()
    assert blind.zero_gradients == blind.gradients
    for attack in (Square(queries=300), HopSkipJump(queries=700, first=20)):
        assert (TASK.room(after(attack, ZeroGradient(), leaves_early=True)[0]) < 0).all()


@NORMS
def test_hopskipjumps_changes_are_no_larger_than_foolboxs_for_fewer_queries(norm):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what it imports is deprecated
        foolbox = pytest.importorskip("foolbox", reason="foolbox is not installed")
    task = LinearTask.make(n=4, classes=4, shape=(1, 6, 6), dtype=torch.float32)
    target, threat = linear_target(task), task.threat(norm, 10.0)
    attack = HopSkipJump(queries=5000)
    ours = attack(target, task.x, task.y, threat=threat, draws=image_draws(4))[:, 0]
    asked = []
    handle = task.classifier.register_forward_hook(lambda _m, _x, out: asked.append(len(out)))
    model = foolbox.PyTorchModel(task.classifier, bounds=(0, 1), device="cpu")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        theirs = foolbox.attacks.HopSkipJumpAttack(steps=16, constraint=str(norm)).run(
            model, task.x, foolbox.criteria.Misclassification(task.y)
        )
    handle.remove()
    assert target.forwards < sum(asked)
    assert threat.size(task.x, ours).mean() <= 1.01 * threat.size(task.x, theirs).mean()


@pytest.mark.parametrize("attack", [Square, HopSkipJump, Boundary, Substitute])
def test_a_constructor_only_stores_its_arguments(attack):
    assert attack().arguments() == vars(attack())


@NORMS
@pytest.mark.parametrize("noise", [(), (Noise(),)], ids=["fixed", "random"])
def test_no_image_is_asked_about_more_often_than_its_queries_allow(noise, norm):
    attack = HopSkipJump(queries=700, first=15, draws=4)
    for i in range(4):
        target = linear_target(TASK, *noise)
        draws, threat = image_draws(4).take(torch.tensor([i])), TASK.threat(norm, 0.5)
        attack(target, TASK.x[i : i + 1], TASK.y[i : i + 1], threat=threat, draws=draws)
        assert 400 < target.forwards <= 700


class Coin(Noise):
    """A purifier behind which draws decide alone."""

    def purify(self, x, *, draws):
        slope = TASK.slope.to(x)
        side = (
            2 * draws.at("coin").integers(3).clamp_max(1).to(x.dtype) - 1
        )  # right two times of three
        return (0.5 + 0.02 * side.view(-1, 1, 1, 1) * slope.sign()).expand_as(x)


def test_a_random_victims_answer_is_the_majority_of_its_draws_and_each_counts():
    x = TASK.x[:1].repeat(200, 1, 1, 1)
    y, which = torch.zeros(200, dtype=torch.int64), torch.arange(200)
    wrong = {}
    for k in (1, 15):
        target = linear_target(TASK, Coin())
        oracle = Oracle(target, y, k=k)
        wrong[k] = float(oracle.is_fooled(x, which, image_draws(200)).double().mean())
        assert target.forwards == 200 * k
        assert oracle.spent.tolist() == [k] * 200
        named = majority_labels(target, x, image_draws(200), k=k)
        assert torch.equal(named != 0, oracle.is_fooled(x, which, image_draws(200)))
    assert 0.25 < wrong[1] < 0.42
    assert wrong[15] < 0.2


def test_a_fixed_victim_is_asked_once():
    target = linear_target(TASK)
    oracle = Oracle(target, TASK.y, k=15)
    oracle.margins(TASK.x, torch.arange(4), image_draws(4))
    assert target.forwards == 4


@NORMS
def test_a_bisection_ends_at_the_boundary_on_the_wrong_side(norm):
    target = linear_target(TASK)
    oracle = Oracle(target, TASK.y, k=1)
    starts, found = find_starts(oracle, TASK.x, image_draws(4))
    assert found.all()
    threat = TASK.threat(norm, 1.0)
    at = to_boundary(oracle, TASK.x, starts, torch.arange(4), image_draws(4).at("b"), threat)
    room = TASK.room(at)
    assert (room < 0).all()
    assert (room > -0.05).all(), "the gap is 2 at the clean image"


@pytest.mark.parametrize(
    "attack",
    [
        HopSkipJump(queries=60),
        HopSkipJump(first=0),
        HopSkipJump(draws=0),
        Boundary(steps=0),
        Boundary(draws=0),
        Boundary(factor=1.0),
        Boundary(sideways=0.0),
    ],
    ids=lambda attack: f"{attack.name} {attack.arguments()}"[:60],
)
def test_wrong_arguments_are_refused_in_one_line(attack):
    with pytest.raises(BenchError, match=attack.name) as caught:
        after(attack)
    assert "\n" not in str(caught.value)
