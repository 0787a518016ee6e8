"""ADD-Defense's networks: the layers and sizes of its Table 4, and what the presets make of them."""

import pytest
import torch
from torch import nn

from benchmark.errors import BenchError
from benchmark.plugins import DEFENSES
from defenses.add.network import (
    ClassHead,
    DomainDiscriminator,
    Encoder,
    Generator,
    ImageDiscriminator,
    from_network,
    to_network,
)
from defenses.add.presets import PRESETS, Preset, known_eps, preset_for, weights_for
from tests.helpers.small_add import images

PAPER_28, PAPER_32 = preset_for("paper", (1, 28, 28)), preset_for("paper", (3, 32, 32))
NOTHING = dict.fromkeys(("mmd", "prior", "domain", "label", "adversarial", "mse"))


def count(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def layers(network: nn.Module, *kinds: type) -> list[tuple[int, ...]]:
    """Input channels, output channels and kernel of all convolutions, or the two widths of linear layers."""
    return [
        (m.in_features, m.out_features)
        if isinstance(m, nn.Linear)
        else (m.in_channels, m.out_channels, m.kernel_size[0])
        for m in network.modules()
        if isinstance(m, kinds)
    ]


def test_the_paper_sized_encoder_and_generator_have_78_and_45_million_weights():
    with torch.device("meta"):
        encoder = Encoder(PAPER_32, has_norm=False)
        generator = Generator(PAPER_32, has_norm=False)
    heads = 2 * (16 * 1024 * 2048 + 2048)
    trunk = sum(16 * i * o + o for i, o in [(3, 128), (128, 256), (256, 512), (512, 1024)])
    assert count(encoder) == trunk + heads == 78_131_072
    assert round(count(encoder) / 1e6, 1) == 78.1
    assert round(count(generator) / 1e6, 1) == 44.6


def test_the_paper_sized_layers_are_those_of_table_4():
    with torch.device("meta"):
        encoder = Encoder(PAPER_32, has_norm=False)
        generator = Generator(PAPER_32, has_norm=False)
        domain, image = DomainDiscriminator(PAPER_32, 3), ImageDiscriminator(PAPER_32)
    assert layers(encoder, nn.Conv2d) == [
        (3, 128, 4),
        (128, 256, 4),
        (256, 512, 4),
        (512, 1024, 4),
        (1024, 2048, 4),
        (1024, 2048, 4),
    ]
    assert layers(generator, nn.ConvTranspose2d) == [
        (2048, 1024, 4),
        (1024, 512, 4),
        (512, 256, 4),
        (256, 128, 4),
        (128, 3, 4),
    ]
    assert layers(domain, nn.Linear) == [(2048, 1024), (1024, 256), (256, 64), (64, 3)]
    assert layers(image, nn.Conv2d) == [(3, 32, 4), (32, 64, 4), (64, 128, 4), (128, 256, 4)]
    assert layers(image, nn.Linear) == [(1024, 512), (512, 1)]
    for network in (encoder, generator, domain, image):
        assert not [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    assert isinstance(generator[-1], nn.Tanh)


def sides(preset: Preset) -> list[int]:
    """Heights of the encoder's feature maps, the image's first and the latent's, 1, last."""
    sides = [preset.side]
    for kernel in preset.kernels:
        sides.append((sides[-1] + 2 - kernel) // 2 + 1)
    return sides


def test_28_pixels_take_one_kernel_of_two():
    assert PAPER_28.kernels == (4, 2, 4, 4, 4)
    assert sides(PAPER_28) == [28, 14, 8, 4, 2, 1]
    with torch.device("meta"):
        generator = Generator(PAPER_28, has_norm=False)
    kernels = [m.kernel_size[0] for m in generator if isinstance(m, nn.ConvTranspose2d)]
    assert kernels == [4, 4, 4, 2, 4]


def test_photographs_take_more_layers_before_the_papers_own():
    large, larger = preset_for("auto", (3, 224, 224)), preset_for("auto", (3, 256, 256))
    assert sides(large) == [224, 112, 56, 28, 14, 7, 3, 1]
    assert sides(larger) == [256, 128, 64, 32, 16, 8, 4, 2, 1]
    assert large.widths[-5:] == larger.widths[-5:] == PAPER_32.widths


@pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: f"{preset.name} {preset.side}")
@pytest.mark.parametrize("has_norm", [False, True])
def test_every_preset_encodes_to_one_pixel_and_generates_its_size(preset, has_norm):
    assert sides(preset)[-1] == 1
    x = torch.empty(2, 3, preset.side, preset.side, device="meta")
    with torch.device("meta"):
        encoder = Encoder(preset, has_norm=has_norm).eval()
        mean, log_variance = encoder(x)
        assert mean.shape == log_variance.shape == (2, preset.latent)
        assert Generator(preset, has_norm=has_norm).eval()(mean).shape == x.shape
        assert DomainDiscriminator(preset, 4)(mean).shape == (2, 4)
        assert ImageDiscriminator(preset)(x).shape == (2, 1)
        assert ClassHead(preset, 7)(mean).shape == (2, 7)


def test_batch_norm_follows_all_convolutions_but_the_last():
    for network in (Encoder(PRESETS[0], has_norm=True), Generator(PRESETS[0], has_norm=True)):
        norms = [m.num_features for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
        assert sorted(norms) == [32, 64]


def test_weights_begin_at_a_deviation_of_two_hundredths():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        encoder = Encoder(PRESETS[0], has_norm=True)
    for module in encoder.modules():
        if isinstance(module, nn.Conv2d) and module.weight.numel() > 10_000:
            assert abs(float(module.weight.detach().std()) / 0.02 - 1) < 0.03
            assert abs(float(module.weight.detach().mean())) < 1e-3
        if isinstance(module, nn.BatchNorm2d):
            assert 0.01 < float(module.weight.detach().std()) < 0.03
            assert abs(float(module.weight.detach().mean()) - 1) < 0.02


def test_what_ships_for_digits_stays_under_two_megabytes():
    digits = PRESETS[0]
    parts = Encoder(digits, has_norm=True), Generator(digits, has_norm=True)
    assert 4 * sum(map(count, (*parts, DomainDiscriminator(digits, 3)))) < 1_900_000


@pytest.mark.parametrize(
    ("name", "shape", "label"),
    [
        ("auto", (1, 8, 8), "add[digits]"),
        ("auto", (1, 28, 28), "add"),
        ("auto", (3, 32, 32), "add"),
        ("auto", (3, 64, 64), "add[64px]"),
        ("auto", (3, 224, 224), "add[224px]"),
        ("auto", (3, 256, 256), "add[256px]"),
        ("quarter", (1, 28, 28), "add[quarter]"),
        ("quarter", (3, 64, 64), "add[quarter]"),
    ],
)
def test_only_the_papers_own_size_has_no_brackets(name, shape, label):
    assert DEFENSES.get("add")(preset=name).label(shape) == label


def test_the_successors_choices_are_never_published_as_the_papers():
    arn = DEFENSES.get("add")(choices="arn")
    assert arn.label((3, 32, 32)) == "add[arn]"
    assert arn.label((1, 8, 8)) == "add[digits-arn]"
    assert DEFENSES.get("add-s")().label((1, 28, 28)) == "add-s"


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("auto", (3, 299, 299), "299x299"),
        ("auto", (2, 32, 32), "2 channels"),
        ("paper", (1, 8, 8), "8x8"),
        ("quater", (1, 8, 8), "Did you mean 'quarter'"),
    ],
)
def test_a_shape_or_name_without_a_preset_is_one_clear_line(name, shape, message):
    with pytest.raises(BenchError, match=message) as caught:
        preset_for(name, shape)
    assert "\n" not in str(caught.value)


def test_the_losses_weights_are_the_papers_by_dataset():
    for dataset in ("mnist", "fashion_mnist", "svhn"):
        w = weights_for(dataset, "paper", NOTHING)
        assert (w.mmd, w.prior, w.domain, w.label, w.adversarial, w.mse) == (
            1,
            1e-4,
            1,
            1e-3,
            1,
            1e3,
        )
    w = weights_for("cifar10", "paper", NOTHING)
    assert (w.prior, w.domain, w.label, w.mse) == (1e-6, 1e-1, 1e-3, 1e1)
    w = weights_for("mnist", "arn", NOTHING)
    assert (w.mmd, w.prior, w.domain, w.label, w.adversarial, w.mse) == (0, 1e-6, 0.5, 0, 0.01, 200)
    assert weights_for("mnist", "paper", {**NOTHING, "mse": 7.0}).mse == 7.0
    with pytest.raises(BenchError, match="label"):
        weights_for("mnist", "paper", {**NOTHING, "label": -1.0})


def test_the_known_budget_is_the_papers_on_its_datasets_and_the_threats_elsewhere():
    names = ("mnist", "fashion_mnist", "cifar10", "svhn", "digits")
    assert [known_eps(name, 0.7) for name in names] == [0.15, 0.15, 0.03, 0.025, 0.7]


def test_grey_is_repeated_to_three_channels_and_back_as_their_mean():
    x = images(4)
    inside = to_network(x)
    assert inside.shape == (4, 3, 8, 8)
    assert torch.equal(inside[:, 2], 2 * x[:, 0] - 1)
    uneven = torch.stack((x[:, 0] - 0.1, x[:, 0], x[:, 0] + 0.1), dim=1)
    assert torch.allclose(from_network(2 * uneven - 1, 1), x, atol=1e-6)
    colour = images(4, c=3)
    assert torch.allclose(from_network(to_network(colour), 3), colour, atol=1e-6)
