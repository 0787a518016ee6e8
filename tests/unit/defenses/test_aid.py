"""AID-Purifier's steps, loss and gradient against what can be computed by hand."""

import math
from dataclasses import replace

import pytest
import torch

from benchmark.contract.checks import run_checks
from benchmark.engine.threat import Threat
from benchmark.engine.victims.purified import Purified
from benchmark.engine.victims.victim import GradientMode
from benchmark.errors import BenchError
from defenses.aid.aid import AID
from defenses.aid.presets import PRESETS
from tests.helpers.small_aid import draws, images, prepared, setting, untrained


def slope(defense: AID, w: torch.Tensor) -> None:
    """Makes the discriminator a plane, whose gradient is w everywhere."""
    defense._logit = lambda x: (x * w).flatten(1).sum(1)


@pytest.mark.parametrize(
    ("arguments", "reach"),
    [
        ({"steps": 1}, 0.15 / 4),
        ({"steps": 3}, 3 * 0.15 / 4),
        ({}, 0.15),
        ({"steps": 2, "step_size": 0.01}, 0.02),
        ({"eps": 0.3}, 0.3),
        ({"eps": 0.02, "steps": 2, "step_size": 0.5}, 0.02),
    ],
)
def test_up_a_plane_it_goes_by_signs_as_far_as_steps_and_radius_allow(tmp_path, arguments, reach):
    defense = prepared(tmp_path, **arguments)
    w = torch.linspace(-1, 1, 64).view(1, 8, 8)
    slope(defense, w)
    x = 0.5 + 0.0 * images()
    torch.testing.assert_close(defense(x, draws=draws(5)), x + reach * w.sign())


def test_up_a_hill_it_goes_as_the_recursion_says_one_pixel_at_a_time(tmp_path):
    """`x <- clip(x0 + clip_eps(x + a * sign(c - x) - x0))`, in plain arithmetic."""
    defense = prepared(tmp_path, steps=7, eps=0.1, step_size=0.03)
    x = images(3)
    top = torch.linspace(-0.2, 1.2, 64).view(1, 8, 8)
    defense._logit = lambda z: -(z - top).square().flatten(1).sum(1)
    found = defense(x, draws=draws(3))
    for start, c, end in zip(
        x.flatten().tolist(),
        top.expand(3, 1, 8, 8).flatten().tolist(),
        found.flatten().tolist(),
        strict=True,
    ):
        z = start
        for _ in range(7):
            z += 0.03 * math.copysign(1, c - z) - start
            z = min(max(start + min(max(z, -0.1), 0.1), 0), 1)
        assert end == pytest.approx(z, abs=1e-5)


def test_it_climbs_and_stays_in_its_ball(tmp_path):
    defense = prepared(tmp_path)
    x = images()
    out = defense(x, draws=draws(5))
    assert 0.1 < float((out - x).abs().max()) <= 0.15 + 1e-6
    before, after = (defense.auxiliary_loss(z, draws=draws(5)) for z in (x, out))
    assert (after < before).all()


def test_the_auxiliary_loss_is_minus_the_logarithm_of_the_sigmoid(tmp_path):
    defense = prepared(tmp_path)
    defense._logit = lambda x: torch.tensor([-2.0, 0.0, 3.0, -500.0])
    found = defense.auxiliary_loss(images(4), draws=draws(4))
    by_hand = [-math.log(1 / (1 + math.exp(-z))) for z in (-2, 0, 3)]
    torch.testing.assert_close(found, torch.tensor([*by_hand, 500.0]))


def test_where_the_discriminator_is_certain_and_flat_nothing_changes_and_the_loss_is_0(tmp_path):
    defense = prepared(tmp_path)
    torch.nn.init.zeros_(defense._discriminator.last.weight)
    torch.nn.init.constant_(defense._discriminator.last.bias, 20.0)
    x = images()
    assert torch.equal(defense(x, draws=draws(5)), x)
    assert float(defense.auxiliary_loss(x, draws=draws(5)).max()) < 1e-8


def test_a_certain_discriminator_still_has_a_direction(tmp_path):
    """At a logit of 500 the sigmoid's gradient is 0 in float32; the logit's is not."""
    defense = prepared(tmp_path)
    w = torch.ones(1, 8, 8)
    defense._logit = lambda x: 500 + (x * w).flatten(1).sum(1)
    x = 0.5 + 0.0 * images()
    torch.testing.assert_close(defense(x, draws=draws(5)), x + 0.15)


def test_the_gradient_is_the_identity_but_where_0_or_1_is_met(tmp_path):
    defense = prepared(tmp_path)
    slope(defense, torch.ones(1, 8, 8))
    x = torch.linspace(0, 1, 64).view(1, 1, 8, 8).requires_grad_()
    with torch.enable_grad():
        out = defense(x, draws=draws(1))
    (gradient,) = torch.autograd.grad(out.sum(), x)
    assert torch.equal(gradient, (x < 1 - 0.15).to(x.dtype))


@pytest.mark.parametrize(("is_checkpointed", "looks"), [(False, 10), (True, 20)])
def test_checkpointing_computes_the_steps_twice_and_no_more(tmp_path, is_checkpointed, looks):
    defense = prepared(tmp_path)
    logit, seen = defense._logit, []
    defense._logit = lambda x: seen.append(len(x)) or logit(x)
    victim = Purified([defense], setting().defended(), is_checkpointed=is_checkpointed)
    x = images().requires_grad_()
    logits = victim.logits(x, draws=draws(5), mode=GradientMode.EXACT)
    torch.autograd.grad(logits.sum(), x)
    assert len(seen) == looks


def test_without_gradients_it_gives_the_same_and_no_graph(tmp_path):
    defense = prepared(tmp_path)
    x = images()
    with torch.no_grad():
        out = defense(x, draws=draws(5))
    with torch.enable_grad():
        again = defense(x.clone().requires_grad_(), draws=draws(5))
    assert not out.requires_grad
    assert again.requires_grad
    assert torch.equal(out, again.detach())


@pytest.mark.parametrize(
    "arguments",
    [
        {"network": "paper"},
        {"taps": ["2/3"]},
        {"taps": ["stem", "1/3", "3/3", "logits"], "steps": 3},
    ],
    ids=str,
)
def test_its_variants_keep_the_contract_on_any_classifier(tmp_path, arguments):
    stage = untrained(tmp_path / "w.safetensors", setting(), **arguments)
    defense = AID(**arguments)
    defense.prepare(stage)
    found = run_checks(defense, stage, images())
    assert [f"{each.name}: {each.detail}" for each in found if not each.passed] == []


def test_the_surrogate_is_the_identity():
    x = images()
    assert AID().surrogate(x, draws=draws(5)) is x


def test_a_narrower_network_carries_its_presets_name_and_the_papers_own_none():
    labels = [AID().label(shape) for shape in ((1, 8, 8), (1, 28, 28), (3, 32, 32), (3, 224, 224))]
    assert labels == ["aid[digits]", "aid", "aid", "aid"]
    assert AID(preset="digits").label((3, 32, 32)) == "aid[digits]"


def test_missing_weights_are_one_line_with_the_command_that_makes_them():
    with pytest.raises(BenchError, match="bench train --defense aid --dataset made-up"):
        AID().prepare(setting())


@pytest.mark.parametrize(
    ("trained", "used", "complaint"),
    [
        ({}, {"network": "paper"}, r"another network.*branches\.0\.1"),
        ({}, {"taps": ["stem", "1/3"]}, r"another network.*branches\.1\.0\.weight is \(128, 8\)"),
        ({}, {"taps": ["stem", "3/3"]}, "taps stem, 2/3, not at stem, 3/3"),
        ({}, {"preset": "svhn"}, "another network"),
    ],
)
def test_weights_of_another_network_or_of_other_taps_are_refused(
    tmp_path, trained, used, complaint
):
    stage = untrained(tmp_path / "w.safetensors", setting(), **trained)
    with pytest.raises(BenchError, match=complaint) as caught:
        AID(**used).prepare(stage)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "wrong",
    [
        {"steps": 0},
        {"step_size": 0.0},
        {"eps": 0.0},
        {"eps": 1.5},
        {"taps": []},
        {"taps": ["stem", "stem"]},
        {"taps": ["4/3"]},
        {"network": "none"},
        {"preset": "digit"},
    ],
    ids=str,
)
def test_wrong_arguments_are_refused_in_one_line(tmp_path, wrong):
    stage = untrained(tmp_path / "w.safetensors", setting())
    with pytest.raises(BenchError, match=next(iter(wrong))) as caught:
        AID(**wrong).prepare(stage)
    assert "\n" not in str(caught.value)


def test_where_the_radius_is_the_threats_an_l2_threat_needs_it_said(tmp_path):
    stage = untrained(tmp_path / "w.safetensors", setting((1, 28, 28)))
    stage = replace(stage, threat=Threat.parse("l2:1"))
    with pytest.raises(BenchError, match=r"eps=0\.1"):
        AID().prepare(stage)
    AID(eps=0.1).prepare(stage)


def test_without_a_preset_of_its_own_a_dataset_gets_the_threats_radius(tmp_path):
    x, w = 0.5 + 0.0 * images(2, (3, 12, 20)), torch.ones(3, 12, 20)
    for threat, radius in (("linf:0.02", 0.02), ("linf:0.3", 0.3)):
        defense = prepared(tmp_path, setting((3, 12, 20), threat=threat))
        slope(defense, w)
        torch.testing.assert_close(defense(x, draws=draws(2)), x + radius)


@pytest.mark.parametrize(
    ("dataset", "side", "eps"),
    [
        ("svhn", 32, 12 / 255),
        ("cifar10", 32, 8 / 255),
        ("cifar100", 32, 16 / 255),
        ("tiny_imagenet", 64, 8 / 255),
        ("imagenet", 64, 4 / 255),
    ],
)
def test_each_dataset_has_its_radius_whatever_the_threat(tmp_path, dataset, side, eps):
    defense = prepared(tmp_path, setting((3, side, side), dataset=dataset, threat="linf:0.3"))
    assert PRESETS[dataset].eps == eps
    slope(defense, torch.ones(3, side, side))
    x = torch.full((1, 3, side, side), 0.5)
    torch.testing.assert_close(defense(x, draws=draws(1)), x + eps)
