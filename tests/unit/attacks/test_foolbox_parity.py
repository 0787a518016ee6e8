"""Gradient attacks against foolbox's: the same iterates from the same image, and where the definitions part."""

import warnings

import pytest
import torch
from torch import nn

from attacks.cw import CW
from attacks.ddn import DDN
from attacks.deepfool import DeepFool
from attacks.ifgsm import IFGSM
from attacks.mim import MIM
from attacks.pgd import PGD
from benchmark.engine.attacking.target import Target
from benchmark.engine.threat import Norm, Threat
from benchmark.engine.victims.classifier import Classifier
from benchmark.engine.victims.purified import Purified
from tests.helpers.toy_plugins import image_draws

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    foolbox = pytest.importorskip("foolbox", reason="foolbox is installed for comparing only")

N, GOAL = 6, 4
ROOMY = Threat.parse("l2:20")
each_aim = pytest.mark.parametrize("goal", [None, GOAL], ids=["untargeted", "targeted"])


class Recorder(nn.Module):
    """A network that keeps a copy of every batch whose gradient is asked for."""

    def __init__(self, network):
        super().__init__()
        self.network = network
        self.queries = []

    def forward(self, x):
        if x.requires_grad:
            self.queries.append(x.detach().clone())
        return self.network(x)


@pytest.fixture(scope="module")
def network():
    with torch.random.fork_rng():
        torch.manual_seed(5)
        layers = [nn.Conv2d(3, 6, 3), nn.Tanh(), nn.Flatten(), nn.Linear(6 * 36, 10)]
        return nn.Sequential(*layers).double().requires_grad_(False)


@pytest.fixture(scope="module")
def points(network):
    """Images with pixels of 0 and 1 among them, none of whose labels is the goal."""
    x = (1.4 * image_draws(60, "points").uniform((3, 8, 8), dtype=torch.float64) - 0.2).clamp(0, 1)
    y = network(x).argmax(1)
    return x[y != GOAL][:N], y[y != GOAL][:N]


def ours(attack, network, points, threat):
    recorder = Recorder(network)
    victim = Purified([], Classifier(recorder, name="net", classes=10, sha256=""))
    target = Target(victim, classes=10)
    x_adv = attack(target, *points, threat=threat, draws=image_draws(N))
    return recorder.queries, x_adv[:, 0]


def theirs(attack, network, points, goal=None, **options):
    recorder, (x, y) = Recorder(network).eval(), points
    model = foolbox.PyTorchModel(recorder, bounds=(0, 1), device="cpu")
    criterion = foolbox.criteria.Misclassification(y)
    if goal is not None:
        criterion = foolbox.criteria.TargetedMisclassification(torch.full_like(y, goal))
    x_adv = attack.run(model, x, criterion, **options)
    return recorder.queries, x_adv


def largest_difference(mine, reference):
    """Over all iterates, of which there are equally many."""
    assert len(mine) == len(reference) > 0
    return max(float((a - b).abs().max()) for a, b in zip(mine, reference, strict=True))


@each_aim
@pytest.mark.parametrize("k", [1, 2, 4, 8])
@pytest.mark.parametrize("norm", list(Norm))
def test_every_iterate_of_ifgsm_is_that_of_bim_with_steps_of_eps_over_k(
    network, points, norm, k, goal
):
    threat = Threat(norm, 8 / 255 if norm is Norm.LINF else 0.7)
    mine, image = ours(IFGSM(steps=k, target_class=goal), network, points, threat)
    kind = {Norm.LINF: "LinfBasicIterativeAttack", Norm.L2: "L2BasicIterativeAttack"}[norm]
    attack = getattr(foolbox.attacks, kind)(abs_stepsize=threat.eps / k, steps=k)
    reference, other = theirs(attack, network, points, goal, epsilon=threat.eps)
    assert largest_difference([*mine, image], [*reference, other]) < 1e-12


@each_aim
@pytest.mark.parametrize("norm", list(Norm))
def test_every_iterate_of_pgd_is_foolboxs_from_the_same_start(network, points, norm, goal):
    threat = Threat(norm, 8 / 255 if norm is Norm.LINF else 0.7)
    attack = PGD(steps=40, step_size=0.125, random_start=False, keep="last", target_class=goal)
    mine, image = ours(attack, network, points, threat)
    kind = {Norm.LINF: "LinfProjectedGradientDescentAttack"}.get(
        norm, "L2ProjectedGradientDescentAttack"
    )
    options = {"rel_stepsize": 0.125, "steps": 40, "random_start": False}
    reference, other = theirs(
        getattr(foolbox.attacks, kind)(**options), network, points, goal, epsilon=threat.eps
    )
    assert largest_difference([*mine, image], [*reference, other]) < 1e-12


MIM_KINDS = {
    Norm.LINF: "LinfMomentumIterativeFastGradientMethod",
    Norm.L2: "L2MomentumIterativeFastGradientMethod",
}


def their_mim(norm, *, momentum, is_dongs=False):
    """foolbox's; as it is it adds up signs (or unit gradients), not gradients over their l1 norm."""
    module = foolbox.attacks.mi_fgsm
    kind = getattr(module, MIM_KINDS[norm])
    if is_dongs:
        methods = {"normalize": lambda _, g, **__: module.normalize_lp_norms(g, p=1)}
        kind = type("Dongs", (kind,), methods)
    return kind(momentum=momentum, abs_stepsize=0.01, steps=20)


@each_aim
@pytest.mark.parametrize("norm", list(Norm))
def test_every_iterate_of_mim_is_foolboxs_with_gradients_of_l1_norm_1(network, points, norm, goal):
    threat = Threat(norm, 8 / 255 if norm is Norm.LINF else 0.15)
    attack = MIM(steps=20, step_size=0.01, step_unit="pixel", keep="last", target_class=goal)
    mine, image = ours(attack, network, points, threat)
    reference, other = theirs(
        their_mim(norm, momentum=1.0, is_dongs=True), network, points, goal, epsilon=threat.eps
    )
    assert largest_difference([*mine, image], [*reference, other]) < 1e-12
    as_it_comes, _ = theirs(
        their_mim(norm, momentum=1.0), network, points, goal, epsilon=threat.eps
    )
    assert largest_difference(mine[:2], as_it_comes[:2]) < 1e-12
    # in l2 the two kinds of weights are nearly proportional
    assert largest_difference(mine, as_it_comes) > {Norm.LINF: 1e-3, Norm.L2: 1e-10}[norm]


@pytest.mark.parametrize("norm", list(Norm))
def test_without_momentum_every_iterate_of_mim_is_foolboxs_as_it_comes(network, points, norm):
    threat = Threat(norm, 8 / 255 if norm is Norm.LINF else 0.15)
    attack = MIM(steps=20, step_size=0.01, step_unit="pixel", keep="last", decay=0.0)
    mine, image = ours(attack, network, points, threat)
    reference, other = theirs(their_mim(norm, momentum=0.0), network, points, epsilon=threat.eps)
    assert largest_difference([*mine, image], [*reference, other]) < 1e-12


@each_aim
def test_every_iterate_of_ddn_and_its_image_are_foolboxs(network, points, goal):
    mine, image = ours(DDN(steps=60, target_class=goal), network, points, ROOMY)
    reference, other = theirs(foolbox.attacks.DDNAttack(steps=60), network, points, goal)
    assert largest_difference(mine, reference) < 1e-9
    assert float((image - other).abs().max()) < 1e-9
    assert (ROOMY.size(points[0], image) > 0).all()


@each_aim
def test_every_iterate_of_cw_is_foolboxs_for_each_constant(network, points, goal):
    """Theirs measures from the image as tanh space gives it back, within 1e-6, and has float32 constants."""
    options = {"steps": 25, "binary_search_steps": 4, "initial_const": 1.0, "confidence": 0.1}
    mine, image = ours(CW(step_size=0.05, target_class=goal, **options), network, points, ROOMY)
    attack = foolbox.attacks.L2CarliniWagnerAttack(stepsize=0.05, abort_early=False, **options)
    reference, other = theirs(attack, network, points, goal)
    assert largest_difference(mine, reference) < 1e-3
    is_found = other.flatten(1).any(dim=1)  # theirs gives a black image back where it found none
    assert int(is_found.sum()) >= 2
    assert float((image - other)[is_found].abs().max()) < 1e-3


@pytest.mark.parametrize("norm", list(Norm))
def test_deepfool_goes_where_foolboxs_goes_and_about_as_far(network, points, norm):
    """Theirs adds 1e-4 to each step's length, ours to its logits' gap."""
    x, _ = points
    _, image = ours(DeepFool(steps=20), network, points, Threat(norm, 0.9))
    kind = {Norm.LINF: "LinfDeepFoolAttack", Norm.L2: "L2DeepFoolAttack"}[norm]
    _, other = theirs(getattr(foolbox.attacks, kind)(steps=20), network, points)
    assert (network(image).argmax(1) == network(other).argmax(1)).all()
    change, reference = (image - x).flatten(1), (other - x).flatten(1)
    assert (torch.cosine_similarity(change, reference) > 0.999).all()
    order = float("inf") if norm is Norm.LINF else 2.0
    sizes = change.norm(p=order, dim=1), reference.norm(p=order, dim=1)
    torch.testing.assert_close(*sizes, rtol=0.01, atol=5e-4)
