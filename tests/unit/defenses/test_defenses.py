"""The small defenses against what they are by definition; their contract is held in test_checks."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from benchmark.engine.randomness import Draws
from benchmark.engine.threat import Threat
from benchmark.engine.victims.classifier import Classifier
from benchmark.engine.victims.defense import Defense
from benchmark.engine.victims.purified import Purified
from benchmark.engine.victims.setting import Setting
from benchmark.engine.victims.victim import GradientMode
from benchmark.errors import BenchError
from benchmark.plugins import DEFENSES


def draws(n: int) -> Draws:
    return Draws.of(5, torch.arange(n), "test", "eot")


def setting(shape: tuple[int, int, int] = (1, 8, 8)) -> Setting:
    return Setting(
        dataset="made-up",
        shape=shape,
        classes=10,
        threat=Threat.parse("linf:0.15"),
        device=torch.device("cpu"),
    )


def test_none_gives_every_image_back():
    x = torch.rand(4, 3, 8, 8)
    defense = DEFENSES.get("none")()
    assert torch.equal(defense(x, draws=draws(4)), x)
    assert torch.equal(defense.auxiliary_loss(x, draws=draws(4)), torch.zeros(4))


def test_gaussian_noise_has_the_mean_and_deviation_that_it_says():
    x = torch.full((64, 1, 32, 32), 0.5)
    noise = DEFENSES.get("gaussian")(sigma=0.05)(x, draws=draws(64)) - x
    n = noise.numel()
    assert abs(float(noise.mean())) < 5 * 0.05 / n**0.5
    assert abs(float(noise.std()) - 0.05) < 5 * 0.05 / (2 * n) ** 0.5


def test_gaussian_noise_is_another_for_each_image_and_each_row():
    x = torch.full((3, 1, 8, 8), 0.5)
    defense = DEFENSES.get("gaussian")(sigma=0.05)
    rows = defense(x.repeat_interleave(2, 0), draws=draws(3).repeat(2))
    assert len({row.numpy().tobytes() for row in rows}) == 6


def test_gaussian_noise_is_clamped_on_both_sides():
    x = torch.tensor([0.0, 1.0]).view(2, 1, 1, 1).expand(2, 1, 8, 8)
    noisy = DEFENSES.get("gaussian")(sigma=0.5)(x, draws=draws(2))
    assert (noisy[0] == 0).any()
    assert (noisy[0] > 0).any()
    assert (noisy[1] == 1).any()
    assert (noisy[1] < 1).any()


@pytest.mark.parametrize("sigma", [0.0, -0.1, float("nan"), float("inf")])
def test_gaussian_refuses_a_sigma_that_is_none(sigma):
    with pytest.raises(BenchError, match="sigma"):
        DEFENSES.get("gaussian")(sigma=sigma).prepare(setting())


@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_reads_what_pillow_wrote(channels):
    bytes_ = np.random.default_rng(0).integers(0, 256, (16, 24, channels), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(bytes_.squeeze()).save(file, format="JPEG", quality=30)
    expected = np.array(Image.open(file)).reshape(16, 24, channels)
    x = torch.from_numpy(bytes_).permute(2, 0, 1)[None].float() / 255
    out = DEFENSES.get("jpeg")(quality=30)(x, draws=draws(1))
    assert torch.equal((out[0].permute(1, 2, 0) * 255).round().byte(), torch.from_numpy(expected))


def test_jpeg_takes_a_batch_without_images():
    x = torch.zeros(0, 1, 8, 8)
    assert DEFENSES.get("jpeg")()(x, draws=draws(0)).shape == x.shape


def test_jpeg_keeps_a_flat_image_and_changes_a_busy_one_the_more_the_lower_its_quality():
    flat = torch.full((1, 1, 8, 8), 128 / 255)
    busy = torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    change = {
        q: float(DEFENSES.get("jpeg")(quality=q).auxiliary_loss(busy, draws=draws(1)))
        for q in (95, 5)
    }
    assert torch.equal(DEFENSES.get("jpeg")()(flat, draws=draws(1)), flat)
    assert 0 < change[95] < change[5]


@pytest.mark.parametrize("quality", [0, 96, 75.5, "75", True])
def test_jpeg_refuses_a_quality_that_is_none(quality):
    with pytest.raises(BenchError, match="quality"):
        DEFENSES.get("jpeg")(quality=quality).prepare(setting())


def test_jpeg_refuses_images_that_are_neither_grey_nor_colour():
    with pytest.raises(BenchError, match="2 channels"):
        DEFENSES.get("jpeg")().prepare(setting((2, 8, 8)))


def test_jpeg_has_no_gradient_but_its_surrogate_has_under_bpda():
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
    victim = Purified(
        [DEFENSES.get("jpeg")()], Classifier(network, name="linear", classes=10, sha256="")
    )
    x = torch.rand(2, 1, 8, 8).requires_grad_()
    exact = victim.logits(x, draws=draws(2), mode=GradientMode.EXACT)
    bpda = victim.logits(x, draws=draws(2), mode=GradientMode.BPDA)
    assert not exact.requires_grad
    assert torch.equal(exact, bpda)
    (gradient,) = torch.autograd.grad(bpda[:, 3].sum(), x)
    assert torch.allclose(gradient, network[1].weight[3].view(1, 1, 8, 8).expand(2, 1, 8, 8))


@pytest.mark.parametrize("name", DEFENSES.names())
def test_a_defense_says_in_one_line_what_it_is(name):
    defense = DEFENSES.get(name)
    assert issubclass(defense, Defense)
    assert defense.name == name
    assert DEFENSES.note(name)
    assert "\n" not in DEFENSES.note(name)
