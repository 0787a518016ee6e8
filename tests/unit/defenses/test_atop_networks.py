"""AToP's presets and networks: the layers that the paper names, and what they compute."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from benchmark.errors import BenchError
from benchmark.plugins import DEFENSES
from defenses.atop.atop import AToP
from defenses.atop.network import Discriminator, GatedConv, Generator, elu
from defenses.atop.presets import PRESETS, preset_for
from tests.helpers.small_atop import draws, images, transform

TINY = replace(PRESETS["digits"], width=4, critic=(4, 4, 4))


@pytest.mark.parametrize(
    ("side", "name"), [(8, "digits"), (28, "28px"), (32, "32px"), (64, "64px")]
)
def test_the_shape_chooses_the_preset_and_the_label(side, name):
    assert preset_for("auto", (1, side, side)).name == name
    assert DEFENSES.get("atop")().label((1, side, side)) == f"atop[{name}]"


def test_a_patch_is_an_eighth_of_the_image_where_that_is_whole():
    patches = {p.name: p.patch for p in PRESETS.values()}
    assert patches == {
        "digits": 1,
        "28px": 4,
        "32px": 4,
        "64px": 8,
        "paper": 32,
        "28px-small": 4,
        "32px-small": 4,
    }
    assert all(p.ratio == 0.25 for p in PRESETS.values())


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("auto", (3, 100, 100), "100x100"),
        ("auto", (3, 230, 230), "230x230"),
        ("auto", (3, 256, 224), "256x224"),
        ("auto", (1, 8, 9), "8x9"),
        ("32px", (1, 8, 8), "8x8"),
        ("digit", (1, 8, 8), "Did you mean 'digits'"),
    ],
)
def test_a_shape_or_name_without_a_preset_is_one_clear_line(name, shape, message):
    with pytest.raises(BenchError, match=message):
        preset_for(name, shape)


def test_the_32_pixel_generator_has_the_papers_widths():
    generator = Generator(3, PRESETS["32px"])
    coarse = [24, 48, 48, 96, 96, 96, 96, 96, 96, 96, 96, 48, 48, 24, 12]
    fine = [[24, 24, 48, 48, 96, 96, 96, 96, 96], [24, 24, 48, 96, 96, 96, 96, 96]]
    last = [96, 96, 48, 48, 24, 12]
    assert widths(generator.coarse) == coarse
    assert [widths(branch) for branch in generator.branches] == fine
    assert widths(generator.fine) == last
    assert generator.coarse[0].conv.kernel_size == (5, 5)
    assert generator.coarse[0].conv.in_channels == 5
    assert generator.coarse[-1].out_channels == generator.fine[-1].out_channels == 3
    rates = [m.conv.dilation[0] for m in generator.coarse if isinstance(m, GatedConv)]
    assert [rate for rate in rates if rate > 1] == [2, 4]


@pytest.mark.parametrize(("side", "patch"), [(256, 32), (224, 28), (128, 16)])
def test_the_papers_network_serves_large_square_images_and_has_no_bracket(side, patch):
    shape = (3, side, side)
    preset = preset_for("auto", shape)
    assert preset.patch == patch
    assert AToP().label(shape) == "atop"
    with torch.device("meta"):
        generator, critic = Generator(3, preset), Discriminator(3, preset.critic)
        x1, x2 = generator(torch.rand(1, *shape), torch.ones(1, 1, side, side))
        scores = critic(x2, torch.ones(1, 1, side, side))
    assert x1.shape == x2.shape == (1, *shape)
    assert scores.shape == (1, 256 * math.ceil(side / 64) ** 2)


def test_the_papers_generator_has_its_layers_and_as_many_weights():
    with torch.device("meta"):
        generator, critic = (
            Generator(3, PRESETS["paper"]),
            Discriminator(3, PRESETS["paper"].critic),
        )
    rates = [m.conv.dilation[0] for m in generator.coarse if isinstance(m, GatedConv)]
    assert [rate for rate in rates if rate > 1] == [2, 4, 8, 16]
    attending = generator.branches[1]
    assert [type(layer).__name__ for layer in attending[-4:]] == [
        "GatedConv",
        "ContextualAttention",
        "GatedConv",
        "GatedConv",
    ]
    assert attending[-4].is_relu
    assert widths(attending) == [24, 24, 48, 96, 96, 96, 96, 96]
    assert [layer[0].out_channels for layer in critic.layers] == [64, 128, 256, 256, 256, 256]
    assert sum(p.numel() for p in generator.parameters()) == by_hand()


def by_hand() -> int:
    """A gated convolution from i to o channels with a k x k kernel has (k k i + 1) 2 o weights."""

    def gated(*steps: tuple[int, int, int]) -> int:
        return sum((k * k * i + 1) * 2 * o for i, o, k in steps)

    up = [(96, 48, 3), (48, 48, 3), (48, 24, 3), (24, 12, 3)]
    down = [(24, 48, 3), (48, 48, 3), (48, 96, 3), (96, 96, 3)]
    coarse = gated((5, 24, 5), *down, *[(96, 96, 3)] * 7, *up)
    far = gated((3, 24, 5), (24, 24, 3), (24, 48, 3), (48, 48, 3), (48, 96, 3), *[(96, 96, 3)] * 5)
    near = gated((3, 24, 5), (24, 24, 3), (24, 48, 3), (48, 96, 3), (96, 96, 3), *[(96, 96, 3)] * 3)
    fine = gated((192, 96, 3), (96, 96, 3), *up)
    plain = 9 * 12 * 3 + 3
    return coarse + far + near + fine + 2 * plain


@pytest.mark.parametrize(
    ("name", "shape"), [("28px-small", (1, 28, 28)), ("32px-small", (3, 32, 32))]
)
def test_a_small_preset_is_taken_only_by_name_and_stands_in_the_label(name, shape):
    assert AToP(preset=name).label(shape) == f"atop[{name}]"
    small, full = preset_for(name, shape), preset_for("auto", shape)
    assert (small.width, small.branches, full.branches) == (16, 1, 2)


def widths(layers: nn.Sequential) -> list[int]:
    return [layer.conv.out_channels // 2 for layer in layers if isinstance(layer, GatedConv)]


def test_the_shipped_generator_stays_under_two_megabytes():
    count = sum(p.numel() for p in Generator(1, PRESETS["digits"]).parameters())
    assert 4 * count < 2_000_000


@pytest.mark.parametrize(
    ("name", "c"), [("digits", 1), ("28px", 1), ("32px", 3), ("28px-small", 1), ("32px-small", 3)]
)
def test_both_stages_put_out_images_of_the_input_shape(name, c):
    side = PRESETS[name].side
    x1, x2 = Generator(c, PRESETS[name])(images(2, c, side), torch.ones(2, 1, side, side))
    for out in (x1.detach(), x2.detach()):
        assert out.shape == (2, c, side, side)
        assert 0 <= float(out.min()) < float(out.max()) <= 1


def test_the_fine_stage_sees_the_image_where_it_is_kept_and_the_coarse_filling_in_holes():
    generator = Generator(1, TINY)
    given = []
    generator.branches[0][0].register_forward_hook(lambda _m, inputs, _o: given.append(inputs[0]))
    x = images()
    views = transform("rt1").views(x, draws=draws(5))
    x1, _ = generator(x, views.keep)
    assert torch.allclose(given[0], torch.where(views.keep > 0, 2 * x - 1, 2 * x1 - 1), atol=1e-6)


def test_a_gated_convolution_is_an_elu_times_a_sigmoid():
    layer = GatedConv(2, 3)
    x = torch.randn(1, 2, 5, 5)
    a, b = layer.conv(x).chunk(2, dim=1)
    assert torch.allclose(layer(x), nn.functional.elu(a) * torch.sigmoid(b), atol=1e-6)
    layer.is_relu = True
    assert torch.allclose(layer(x), nn.functional.relu(a) * torch.sigmoid(b), atol=1e-6)


def test_a_gated_convolution_begins_with_weights_of_gain_two():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        weight = GatedConv(64, 64).conv.weight
    expected = 2 / (64 * 9) ** 0.5
    assert abs(float(weight.detach().std()) / expected - 1) < 0.02


def test_the_fast_elu_is_the_elu_with_its_derivative_also_at_zero():
    a = torch.tensor([-5.0, -1e-3, 0.0, 1e-3, 5.0], dtype=torch.float64, requires_grad=True)
    assert torch.allclose(elu(a), nn.functional.elu(a))
    (ours,) = torch.autograd.grad(elu(a).sum(), a)
    (theirs,) = torch.autograd.grad(nn.functional.elu(a).sum(), a)
    assert torch.allclose(ours, theirs)


def test_the_discriminator_has_layers_of_spectral_norm_one():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        critic = Discriminator(1, (8, 16))
    x = images(4)
    for _ in range(200):
        scores = critic(x, torch.zeros(4, 1, 8, 8)).detach()
    assert scores.shape == (4, 16 * 2 * 2)
    for layer in critic.layers:
        assert (
            abs(float(torch.linalg.matrix_norm(layer[0].weight.detach().flatten(1), 2)) - 1) < 1e-3
        )
