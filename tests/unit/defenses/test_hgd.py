"""HGD's denoisers and purifier: the layers that the paper names, and facts that can be computed by hand."""

from pathlib import Path

import pytest
import torch
from torch import nn

from benchmark.engine.victims.purified import Purified
from benchmark.engine.victims.victim import GradientMode
from benchmark.errors import BenchError
from benchmark.files.weights import load_safetensors, save_safetensors
from benchmark.plugins import DEFENSES
from defenses.hgd.hgd import HGD
from defenses.hgd.network import Denoiser
from defenses.hgd.presets import PRESETS, preset_for
from tests.helpers.small_hgd import classifier, draws, images, setting

PAPER = PRESETS["paper"].widths
DIGITS = PRESETS["digits"].widths


def convolutions(block: nn.Module) -> list[tuple[int, int, int]]:
    """Channels in, channels out and stride of each convolution."""
    found = [m for m in block.modules() if isinstance(m, nn.Conv2d)]
    return [(m.in_channels, m.out_channels, m.stride[0]) for m in found]


def test_the_papers_denoiser_has_eleven_million_weights():
    count = sum(p.numel() for p in Denoiser(3, PAPER).parameters())
    assert count == 11_033_984  # the paper's 11.03M


def test_blocks_have_the_papers_layers():
    denoiser = Denoiser(3, PAPER)
    assert [convolutions(block) for block in denoiser.encoder] == [
        [(3, 64, 1), (64, 64, 1)],
        [(64, 128, 2), (128, 128, 1), (128, 128, 1)],
        [(128, 256, 2), (256, 256, 1), (256, 256, 1)],
        [(256, 256, 2), (256, 256, 1), (256, 256, 1)],
        [(256, 256, 2), (256, 256, 1), (256, 256, 1)],
    ]
    assert [convolutions(block) for block in denoiser.decoder] == [
        [(512, 256, 1), (256, 256, 1), (256, 256, 1)],
        [(512, 256, 1), (256, 256, 1), (256, 256, 1)],
        [(384, 128, 1), (128, 128, 1), (128, 128, 1)],
        [(192, 64, 1), (64, 64, 1)],
    ]
    assert denoiser.last.kernel_size == (1, 1)
    assert not [m for m in denoiser.modules() if isinstance(m, nn.Conv2d) and m.bias is not None]
    kinds = [type(m).__name__ for m in denoiser.encoder[0]]
    assert kinds == ["Conv2d", "BatchNorm2d", "ReLU"] * 2


@pytest.mark.parametrize(
    ("side", "sizes"),
    [
        (28, [28, 14, 7, 4, 2]),
        (32, [32, 16, 8, 4, 2]),
        (64, [64, 32, 16, 8, 4]),
        (224, [224, 112, 56, 28, 14]),
        (299, [299, 150, 75, 38, 19]),
    ],
)
@pytest.mark.parametrize("c", [1, 3])
@pytest.mark.parametrize("has_laterals", [True, False])
def test_any_size_is_halved_and_rounded_up_and_comes_out_as_it_went_in(
    side, sizes, c, has_laterals
):
    with torch.device("meta"):
        denoiser = Denoiser(c, PAPER, has_laterals=has_laterals).eval()
        seen = []
        for block in denoiser.encoder:
            block.register_forward_hook(lambda _m, _i, out: seen.append(out.shape[2]))
        assert denoiser(torch.empty(2, c, side, side)).shape == (2, c, side, side)
    assert seen == sizes


@pytest.mark.parametrize(
    ("name", "c", "side"),
    [("digits", 1, 8), ("28px-small", 1, 28), ("32px-small", 3, 32), ("paper", 3, 35)],
)
def test_every_preset_puts_out_noise_of_the_images_shape(name, c, side):
    denoiser = Denoiser(c, PRESETS[name].widths).eval()
    with torch.no_grad():
        assert denoiser(images(1, c, side)).shape == (1, c, side, side)


def test_the_small_presets_have_half_of_the_papers_widths():
    for name in ("28px-small", "32px-small"):
        assert [2 * width for width in PRESETS[name].widths] == list(PAPER)


def test_without_laterals_all_goes_through_the_lowest_resolution():
    x = images(2, 1, 16)
    outs = {}
    for has_laterals in (True, False):
        denoiser = Denoiser(1, (4, 8, 8), has_laterals=has_laterals).eval()
        denoiser.encoder[-1].register_forward_hook(lambda _m, _i, out: 0 * out)
        with torch.no_grad():
            outs[has_laterals] = denoiser(x)
    assert torch.equal(outs[False][0], outs[False][1])
    assert not torch.equal(outs[True][0], outs[True][1])
    assert convolutions(Denoiser(3, PAPER, has_laterals=False).decoder)[0] == (256, 256, 1)


def test_the_shipped_denoiser_stays_under_two_megabytes():
    state = Denoiser(1, DIGITS).state_dict()
    assert 4 * sum(tensor.numel() for tensor in state.values()) < 2_000_000


@pytest.mark.parametrize(
    ("shape", "name"),
    [
        ((1, 8, 8), "digits"),
        ((1, 28, 28), "28px-small"),
        ((3, 32, 32), "32px-small"),
        ((3, 64, 64), ""),
        ((3, 224, 224), ""),
        ((3, 28, 32), ""),
    ],
)
def test_the_shape_chooses_the_preset_and_the_label(shape, name):
    assert preset_for("auto", shape).name == name
    assert DEFENSES.get("hgd")().label(shape) == (f"hgd[{name}]" if name else "hgd")


@pytest.mark.parametrize(
    ("arguments", "label"),
    [
        ({"loss": "fgd"}, "hgd[digits-fgd]"),
        ({"network": "dae", "loss": "pgd"}, "hgd[digits-dae-pgd]"),
        ({"preset": "paper"}, "hgd"),
        ({"preset": "paper", "loss": "cgd"}, "hgd[cgd]"),
        ({"auxiliary": "features"}, "hgd[digits]"),
    ],
)
def test_whatever_takes_other_weights_has_another_label(arguments, label):
    assert HGD(**arguments).label((1, 8, 8)) == label


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"loss": "lgb"}, "loss of hgd.*Did you mean 'lgd'"),
        ({"network": "unet"}, "network of hgd"),
        ({"preset": "digit"}, "preset of hgd.*Did you mean 'digits'"),
        ({"preset": "28px-small"}, "28x28 pixels, not of 8x8"),
        ({"auxiliary": "logits"}, "auxiliary of hgd"),
    ],
)
def test_an_unknown_argument_is_one_clear_line(arguments, message, tmp_path):
    with pytest.raises(BenchError, match=message) as caught:
        HGD(**arguments).prepare(setting(weights=weights(tmp_path)))
    assert "\n" not in str(caught.value)


def weights(tmp_path: Path, widths=DIGITS, *, scale: float = 1.0) -> Path:
    """Those of a denoiser that has seen some images, its last layer scaled."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        denoiser = Denoiser(1, widths)
    with torch.no_grad():
        for _ in range(20):
            denoiser(2 * images(32) - 1)
        denoiser.last.weight.mul_(scale)
    save_safetensors(dict(denoiser.state_dict()), tmp_path / f"w{scale}.safetensors")
    return tmp_path / f"w{scale}.safetensors"


def prepared(path: Path, **arguments) -> HGD:
    defense = HGD(**arguments)
    defense.prepare(setting(weights=path))
    return defense


def test_the_negative_noise_is_that_of_the_image_scaled_to_minus_one_to_one(tmp_path):
    defense = prepared(weights(tmp_path))
    denoiser = Denoiser(1, DIGITS).eval()
    denoiser.load_state_dict(load_safetensors(weights(tmp_path)))
    x = images()
    with torch.no_grad():
        expected = (2 * x - 1 + denoiser(2 * x - 1) + 1) / 2
        surrogate = defense.surrogate(x, draws=draws(5))
        torch.testing.assert_close(surrogate, expected, atol=1e-6, rtol=0)
        assert bool((surrogate < 0).any())
        assert torch.equal(defense(x, draws=draws(5)), surrogate.clamp(0, 1))


def test_the_surrogate_carries_a_gradient_through_the_clamp(tmp_path):
    victim = Purified([prepared(weights(tmp_path, scale=30.0))], classifier())
    x = images()
    gradients = {}
    for mode in GradientMode:
        leaf = x.clone().requires_grad_()
        out = victim.purify(leaf, draws=draws(5), mode=mode)
        (gradients[mode],) = torch.autograd.grad(out[:, :, 4, 4].sum(), leaf)
    clamped = (out[:, 0, 4, 4] == 0) | (out[:, 0, 4, 4] == 1)
    assert bool(clamped.any())
    assert not gradients[GradientMode.EXACT][clamped].any()
    assert gradients[GradientMode.BPDA][clamped].flatten(1).any(1).all()


@pytest.mark.parametrize("loss", ["lgd", "fgd", "pgd", "cgd"])
@pytest.mark.parametrize("auxiliary", ["noise", "features"])
def test_the_auxiliary_loss_is_zero_without_a_change_and_grows_with_it(tmp_path, loss, auxiliary):
    x = images()
    found = []
    for scale in (0.0, 0.1, 1.0):
        path = weights(tmp_path, scale=scale)
        defense = prepared(path, loss=loss, auxiliary=auxiliary)
        found.append(defense.auxiliary_loss(x, draws=draws(5)).detach())
        if not scale:
            assert torch.equal(defense(x, draws=draws(5)), x)
    assert not found[0].any()
    assert bool((found[1] > 0).all())
    assert bool((found[1] < found[2]).all())


def test_the_auxiliary_losses_are_what_they_are_by_hand(tmp_path):
    x, path = images(), weights(tmp_path)
    noise = prepared(path)
    changed = noise.surrogate(x, draws=draws(5))
    expected = 2 * (changed - x).abs().mean((1, 2, 3))
    torch.testing.assert_close(noise.auxiliary_loss(x, draws=draws(5)), expected)
    logits = prepared(path, auxiliary="features").auxiliary_loss(x, draws=draws(5))
    torch.testing.assert_close(logits, (classifier()(changed) - classifier()(x)).abs().mean(1))
    pixels = prepared(path, loss="pgd", auxiliary="features").auxiliary_loss(x, draws=draws(5))
    torch.testing.assert_close(pixels, expected)


def test_missing_weights_are_one_line_with_the_command_that_makes_them():
    with pytest.raises(BenchError, match="bench train --defense hgd"):
        HGD().prepare(setting())


@pytest.mark.parametrize("arguments", [{}, {"network": "dae"}])
def test_weights_of_another_network_are_refused_by_the_first_name_that_differs(tmp_path, arguments):
    path = weights(tmp_path, DIGITS if arguments else (4, 8))
    name = "decoder" if arguments else "decoder|encoder"
    with pytest.raises(BenchError, match=rf"another network's: ({name})\."):
        HGD(**arguments).prepare(setting(weights=path))
