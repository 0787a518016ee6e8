"""StAdv against a truth: on a slope of grey, how far each pixel is moved says how much each logit changes."""

import pytest
import torch
from torch import nn

from attacks.stadv import StAdv, roughness, warped
from benchmark.engine.attacking.target import Target
from benchmark.engine.threat import NamedSet, Threat
from benchmark.engine.victims.classifier import Classifier
from benchmark.engine.victims.purified import Purified
from benchmark.errors import BenchError
from tests.helpers.toy_plugins import Noise, image_draws

SIDE = 8
SLOPE = 0.05
"""Grey levels from one column to the next."""
ANY = Threat.parse("linf:1")
GAP = 0.03
"""Logit of the true class above the other's, on the image as it is."""


def ramp(n: int = 1, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    """Images that get lighter from left to right, in straight lines."""
    return (0.2 + SLOPE * torch.arange(SIDE, dtype=dtype)).expand(n, 1, SIDE, SIDE).clone()


def target(*defenses, classes: int = 2, leaves_early: bool = False) -> Target:
    """A linear classifier that looks at the inner columns, with weights of both signs and a known gap."""
    weight = torch.zeros(SIDE, SIDE, dtype=torch.float64)
    weight[:, 2 : SIDE - 2] = 0.01 * (-1.0) ** torch.arange(SIDE)[:, None]
    network = nn.Sequential(nn.Flatten(), nn.Linear(SIDE * SIDE, classes, dtype=torch.float64))
    with torch.no_grad():
        network[1].weight.zero_()
        network[1].weight[0] = weight.flatten() / 2
        network[1].weight[1] = -weight.flatten() / 2
        network[1].bias.fill_(-9.0)
        between = float((weight * ramp()[0, 0]).sum())
        network[1].bias[0], network[1].bias[1] = (GAP - between) / 2, -(GAP - between) / 2
    classifier = Classifier(network, name="slope", classes=classes, sha256="0")
    return Target(Purified(defenses, classifier), classes=classes, leaves_early=leaves_early)


def exact_bound() -> float:
    """Every pixel that is looked at changes by the slope times its way; their weights add up."""
    per_pixel = SLOPE * SIDE / 2  # the image is 2 wide
    looked_at = 0.01 * SIDE * (SIDE - 4)
    return GAP / (looked_at * per_pixel)


def fooled(attack: StAdv, victim: Target, label: int = 0, n: int = 3) -> torch.Tensor:
    y = torch.full((n,), label)
    x_adv = attack(victim, ramp(n), y, threat=ANY, draws=image_draws(n))[:, 0]
    return victim.victim.bare_logits(x_adv).argmax(1) != y


@pytest.mark.parametrize("leaves_early", [False, True])
@pytest.mark.parametrize("given", [{}, {"target_class": 1}, {"random_start": False}], ids=str)
def test_succeeds_just_above_the_exact_bound_and_never_just_below(given, leaves_early):
    victim = target(leaves_early=leaves_early)
    for share, expected in ((1.05, True), (0.95, False)):
        attack = StAdv(bound=share * exact_bound(), smoothness=0.0, **given)
        assert fooled(attack, victim).tolist() == [expected] * 3


@pytest.mark.parametrize("given", [{}, {"target_class": 1}, {"random_start": False}], ids=str)
def test_under_its_own_threat_eps_is_the_bound(given):
    attack, y = StAdv(smoothness=0.0, **given), torch.zeros(3).long()
    for share, expected in ((1.05, True), (0.95, False)):
        victim = target(leaves_early=True)
        threat = Threat(NamedSet.STADV, share * exact_bound())
        x_adv = attack(victim, ramp(3), y, threat=threat, draws=image_draws(3))[:, 0]
        assert (victim.victim.bare_logits(x_adv).argmax(1) != y).tolist() == [expected] * 3


def test_under_its_own_threat_it_makes_the_images_that_it_makes_where_any_image_is_allowed():
    y, images = torch.zeros(3).long(), []
    for attack, text in ((StAdv(bound=0.1, steps=5), "linf:1"), (StAdv(steps=5), "stadv:0.1")):
        victim = target(Noise(sigma=0.05))
        x_adv = attack(victim, ramp(3), y, threat=Threat.parse(text), draws=image_draws(3))
        images.append(x_adv)
    torch.testing.assert_close(*images, rtol=0, atol=1e-12)


def test_no_flow_leaves_the_image_and_a_flow_of_one_pixel_shifts_it():
    x = torch.rand(2, 3, 6, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    flow = torch.zeros(2, 2, 6, 8, dtype=torch.float64)
    assert torch.allclose(warped(x, flow), x, atol=1e-12)
    flow[:, 0] = 2 / 8
    assert torch.allclose(warped(x, flow)[..., :-1], x[..., 1:], atol=1e-12)
    flow[:, 0], flow[:, 1] = 0, -2 / 6
    assert torch.allclose(warped(x, flow)[..., 1:, :], x[..., :-1, :], atol=1e-12)
    assert torch.allclose(warped(x, flow)[..., 0, :], x[..., 0, :], atol=1e-12)


def test_roughness_is_that_of_equation_4_in_pixels():
    flow = torch.zeros(1, 2, 4, 4)
    assert float(roughness(flow)) == pytest.approx(0, abs=1e-5)
    flow[0, 0, 1, 1], flow[0, 1, 1, 1] = (
        1.5,
        2.0,
    )  # 3 and 4 pixels: 5 away from four neighbours, both ways
    assert float(roughness(flow)) == pytest.approx(2 * 4 * 5, rel=1e-5)
    leaf = torch.zeros(1, 2, 4, 4, requires_grad=True)
    (gradient,) = torch.autograd.grad(roughness(leaf).sum(), leaf)
    assert torch.equal(gradient, torch.zeros_like(gradient))


def test_a_smoother_flow_is_asked_for_by_a_greater_weight():
    changes = []
    for smoothness in (0.0, 10.0):
        attack = StAdv(bound=0.2, steps=10, smoothness=smoothness, random_start=False)
        x_adv = attack(target(), ramp(), torch.zeros(1).long(), threat=ANY, draws=image_draws(1))
        changes.append(float((x_adv[:, 0] - ramp()).diff(dim=2).abs().mean()))
    assert changes[1] < 0.5 * changes[0]


def test_the_image_stays_in_the_threats_budget_too():
    for text in ("linf:0.004", "l2:0.02"):
        threat = Threat.parse(text)
        x_adv = StAdv(bound=0.5)(
            target(), ramp(), torch.zeros(1).long(), threat=threat, draws=image_draws(1)
        )
        assert 0.5 * threat.eps < float(threat.size(ramp(), x_adv[:, 0])) <= threat.eps * (1 + 1e-6)


def test_each_image_is_attacked_as_if_it_were_alone():
    x = ramp(3) + 0.1 * torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(1)).double()
    y, draws = torch.zeros(3).long(), image_draws(3)
    attack = StAdv(bound=0.1, steps=6)
    together = attack(target(), x, y, threat=ANY, draws=draws)
    at = torch.tensor([2])
    alone = attack(target(), x[at], y[at], threat=ANY, draws=draws.take(at))
    assert torch.allclose(together[at], alone, atol=1e-12)


@pytest.mark.parametrize("target_class", [0, 2, 3])
def test_every_image_reaches_the_class_or_the_one_after_its_own(target_class):
    """Each of four classes looks at two rows of its own."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(SIDE * SIDE, 4, bias=False).double())
    with torch.no_grad():
        weight = torch.zeros(4, SIDE, SIDE, dtype=torch.float64)
        for label in range(4):
            weight[label, 2 * label : 2 * label + 2, 2 : SIDE - 2] = 1.0
        network[1].weight.copy_(weight.flatten(1))
    x, y = ramp(4), torch.arange(4)
    for label in range(4):
        x[label, :, 2 * label : 2 * label + 2] += 0.01
    victim = Target(
        Purified([], Classifier(network, name="rows", classes=4, sha256="0")), classes=4
    )
    attack = StAdv(bound=0.2, smoothness=0.0, target_class=target_class)
    x_adv = attack(victim, x, y, threat=ANY, draws=image_draws(4))[:, 0]
    expected = [target_class if label != target_class else (label + 1) % 4 for label in range(4)]
    assert victim.victim.bare_logits(x_adv).argmax(1).tolist() == expected


def test_of_a_random_victim_the_best_image_and_the_last_are_candidates():
    victim = target(Noise(sigma=0.1))
    x_adv = StAdv(bound=0.1, steps=3)(
        victim, ramp(2), torch.zeros(2).long(), threat=ANY, draws=image_draws(2)
    )
    assert x_adv.shape == (2, 2, 1, SIDE, SIDE)


@pytest.mark.parametrize(
    "wrong",
    [{"steps": 0}, {"bound": 0.0}, {"step_size": -1.0}, {"smoothness": -0.1}, {"target_class": 2}],
    ids=str,
)
def test_wrong_arguments_are_refused_in_one_line(wrong):
    with pytest.raises(BenchError, match=next(iter(wrong))) as caught:
        fooled(StAdv(**wrong), target())
    assert "\n" not in str(caught.value)
