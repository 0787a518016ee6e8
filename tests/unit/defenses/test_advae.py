"""AdvAE's networks, losses and purifier against facts that can be computed by hand."""

import math
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import nn

from benchmark.errors import BenchError
from benchmark.files.weights import load_safetensors, save_safetensors
from defenses.advae.advae import AdvAE
from defenses.advae.losses import cross_entropy, divergence, entropy
from defenses.advae.network import AutoEncoder, Purifier, UNet
from defenses.advae.presets import PRESETS, preset_for
from tests.helpers.small_atop import draws, images, setting

SHAPES = {
    "digits": (1, 8, 8),
    "28px": (1, 28, 28),
    "32px": (3, 32, 32),
    "64px": (3, 64, 64),
    "224px": (3, 224, 224),
    "256px": (3, 256, 256),
}


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_the_networks_have_as_many_weights_as_the_papers():
    with torch.device("meta"):
        assert parameters(Purifier(1, PRESETS["28px"], "none")) == 28_481
        assert parameters(Purifier(3, PRESETS["32px"], "raw")) == 7_760_931


def test_the_auto_encoder_has_norm_and_pooling_before_its_code_and_neither_behind():
    kinds = [type(layer).__name__ for layer in AutoEncoder(1, (32, 32)).layers]
    down, up = ["Conv2d", "BatchNorm2d", "ReLU", "MaxPool2d"], ["Conv2d", "ReLU", "Upsample"]
    assert kinds == [*down, *down, *up, *up, "Conv2d"]
    sizes = []
    x = torch.zeros(1, 1, 28, 28)
    for layer in AutoEncoder(1, (32, 32)).eval().layers:
        x = layer(x)
        sizes.append(tuple(x.shape[1:]))
    assert sizes[7] == (32, 7, 7)
    assert sizes[-1] == (1, 28, 28)


def test_the_unet_has_five_resolutions_and_joins_each_but_the_lowest():
    network = UNet(3, (32, 64, 128, 256, 512))
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    assert [(m.in_channels, m.out_channels) for m in convolutions] == [
        *[(3, 32), (32, 32), (32, 64), (64, 64), (64, 128), (128, 128)],
        *[(128, 256), (256, 256), (256, 512), (512, 512)],
        *[(512, 256), (256, 256), (256, 128), (128, 128), (128, 64), (64, 64), (64, 32), (32, 32)],
        (32, 3),
    ]
    assert [(m.in_channels, m.out_channels) for m in network.grow] == [
        *[(512, 256), (256, 128), (128, 64), (64, 32)]
    ]
    assert not [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("channels", [1, 3])
def test_every_preset_keeps_the_shape_of_its_images(name, channels):
    shape = (channels, *SHAPES[name][1:])
    assert preset_for("auto", shape).name == name
    with torch.device("meta"):
        network = Purifier(channels, PRESETS[name], PRESETS[name].residual).eval()
        assert network(torch.zeros(2, *shape)).shape == (2, *shape)


def test_the_output_is_added_to_nothing_to_the_pixel_or_to_its_logit():
    x = torch.tensor([0.0, 0.2, 0.5, 1.0]).view(1, 1, 2, 2).repeat(1, 1, 4, 4)
    for residual, base in (
        ("none", torch.zeros_like(x)),
        ("raw", x),
        ("logit", torch.logit(x.clamp(0.01, 0.99))),
    ):
        network = Purifier(1, PRESETS["digits"], residual).eval()
        assert torch.allclose(network(x), base + network.network(x))


def test_the_cross_entropy_of_a_pixel_is_what_it_is_by_hand():
    logits = torch.tensor([0.0, math.log(3)]).view(1, 1, 1, 2)  # probabilities .5 and .75
    x = torch.tensor([1.0, 0.25]).view(1, 1, 1, 2)
    second = -(0.25 * math.log(0.75) + 0.75 * math.log(0.25))
    assert float(cross_entropy(logits, x)) == pytest.approx((math.log(2) + second) / 2)
    h = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75))
    assert float(entropy(x)) == pytest.approx(h / 2, abs=1e-6)
    assert float(divergence(logits, x)) == pytest.approx((math.log(2) + second - h) / 2, abs=1e-6)


def test_the_auxiliary_loss_is_nothing_where_nothing_changes_and_grows_with_the_change():
    x = 0.05 + 0.9 * images()
    change = [divergence(torch.logit(x) + amount, x) for amount in (0.0, 0.1, 0.5, 2.0)]
    assert float(change[0].abs().max()) < 1e-6
    for less, more in pairwise(change):
        assert bool((more > less + 1e-4).all())


def test_the_auxiliary_loss_has_a_finite_gradient_at_black_and_white():
    x = torch.tensor([0.0, 1.0, 0.5, 0.0]).view(1, 1, 2, 2).requires_grad_()
    (gradient,) = torch.autograd.grad(divergence(torch.zeros(1, 1, 2, 2), x).sum(), x)
    assert bool(torch.isfinite(gradient).all())
    assert float(gradient[0, 0, 0, 0]) < 0 < float(gradient[0, 0, 0, 1])  # towards the grey output
    black = torch.zeros(1, 1, 2, 2)
    assert float(divergence(torch.full((1, 1, 2, 2), -20.0), black)) == pytest.approx(0, abs=1e-5)


def weights(tmp_path: Path, preset: str = "digits") -> Path:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        state = Purifier(1, PRESETS[preset], "none").state_dict()
    save_safetensors(dict(state), tmp_path / "w.safetensors")
    return tmp_path / "w.safetensors"


@pytest.mark.parametrize("residual", ["none", "raw", "logit"])
def test_purifying_is_one_pass_and_a_sigmoid(tmp_path, residual):
    path = weights(tmp_path)
    defense = AdvAE(residual=residual)
    defense.prepare(setting(weights=path))
    network = Purifier(1, PRESETS["digits"], residual).eval()
    network.load_state_dict(load_safetensors(path))
    x = images()
    with torch.no_grad():
        assert torch.equal(defense(x, draws=draws(5)), network(x).sigmoid())


def test_the_auxiliary_loss_of_the_purifier_is_the_one_that_was_named(tmp_path):
    path, x = weights(tmp_path), images()
    found = {}
    for name in ("divergence", "cross-entropy"):
        defense = AdvAE(auxiliary=name)
        defense.prepare(setting(weights=path))
        found[name] = defense.auxiliary_loss(x, draws=draws(5))
    assert torch.allclose(found["cross-entropy"] - found["divergence"], entropy(x), atol=1e-6)
    assert bool((found["divergence"] > 0).all())


def test_only_what_is_not_the_papers_size_carries_its_preset():
    labels = {name: AdvAE().label(shape) for name, shape in SHAPES.items()}
    assert labels["28px"] == labels["32px"] == "advae"
    assert labels["digits"] == "advae[digits]"
    assert labels["224px"] == "advae[224px]"


def test_another_residual_takes_other_weights_and_so_another_label():
    assert AdvAE(residual="logit").label(SHAPES["32px"]) == "advae[logit]"
    assert AdvAE(residual="logit").label(SHAPES["64px"]) == "advae[64px-logit]"
    assert AdvAE(residual="raw").label(SHAPES["32px"]) == "advae"
    with pytest.raises(BenchError, match="residual of advae"):
        AdvAE(residual="rae").label(SHAPES["32px"])


def test_missing_weights_are_one_line_with_the_command_that_makes_them():
    with pytest.raises(BenchError, match="bench train --defense advae"):
        AdvAE().prepare(setting())


def test_weights_of_another_network_are_refused_by_the_first_name_that_differs(tmp_path):
    with pytest.raises(BenchError, match=r"another network's: network\.layers\.0\.bias"):
        AdvAE().prepare(setting(weights=weights(tmp_path, "28px")))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"preset": "digit"}, "Did you mean 'digits'"),
        ({"preset": "28px"}, "not made for images of 8x8"),
        ({"residual": "rae"}, "residual of advae"),
        ({"auxiliary": "l1"}, "auxiliary loss of advae"),
    ],
)
def test_an_argument_that_nothing_has_is_one_line(tmp_path, wrong, message):
    with pytest.raises(BenchError, match=message) as caught:
        AdvAE(**wrong).prepare(setting(weights=weights(tmp_path)))
    assert "\n" not in str(caught.value)
