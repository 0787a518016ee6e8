"""AToP's transforms, networks, losses and recipe against facts that can be computed by hand."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from benchmark.classifier import Classifier
from benchmark.dataset import Dataset
from benchmark.defense import DEFENSES
from benchmark.errors import BenchError
from benchmark.randomness import Draws
from benchmark.setting import Setting
from benchmark.threat import Threat
from benchmark.training import TrainingOptions, train
from benchmark.weights import load_safetensors, save_safetensors
from defenses.atop.atop import AToP
from defenses.atop.network import Discriminator, GatedConv, Generator, elu
from defenses.atop.presets import PRESETS, preset_for
from defenses.atop.recipe import AToPRecipe, critic_hinge, generator_hinge
from defenses.atop.transforms import Kind, Transform, Views, transform_for

TINY = replace(PRESETS["digits"], width=4, critic=(4, 4, 4))


def draws(n: int, *, start: int = 0) -> Draws:
    return Draws.of(2, torch.arange(start, start + n), "test", "eot")


def transform(kind: str, **changes) -> Transform:
    given = {"sigma": 0.25, "patch": 1, "ratio": 0.25, "copies": 4} | changes
    return Transform(kind=Kind(kind), **given)


def images(n: int = 5, c: int = 1, side: int = 8) -> torch.Tensor:
    return torch.rand(n, c, side, side, generator=torch.Generator().manual_seed(0))


def setting(shape: tuple[int, int, int] = (1, 8, 8), weights: Path | None = None) -> Setting:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = nn.Sequential(nn.Flatten(), nn.Linear(math.prod(shape), 10))
    return Setting(
        dataset="made-up",
        shape=shape,
        classes=10,
        threat=Threat.parse("linf:0.15"),
        device=torch.device("cpu"),
        classifier=Classifier(network, name="linear", classes=10, sha256="0"),
        weights=weights,
    )


# Transforms


@pytest.mark.parametrize(
    ("side", "patch", "holes"), [(8, 1, 16), (32, 4, 16), (28, 4, 12), (256, 32, 16), (10, 4, 2)]
)
def test_a_mask_takes_a_quarter_of_the_patches_whole(side, patch, holes):
    keep = transform("rt1", patch=patch).views(images(3, side=side), draws=draws(3)).keep
    grid = math.ceil(side / patch)
    blocks = nn.functional.pad(keep, (0, grid * patch - side) * 2, value=-1.0)
    blocks = (
        blocks.unfold(2, patch, patch).unfold(3, patch, patch).flatten(4)
    )  # (3, 1, g, g, p * p)
    is_hole = (blocks <= 0).all(4)
    is_kept = (blocks.abs() == 1).all(4) & ~is_hole
    assert (is_hole | is_kept).all()
    assert is_hole.flatten(1).sum(1).tolist() == [holes] * 3


def test_rt1_masks_and_adds_no_noise():
    x = images()
    views = transform("rt1").views(x, draws=draws(5))
    assert torch.equal(views.images, x)
    assert views.count == 1


def test_rt2_adds_noise_then_clips_then_masks():
    x = images()
    views = transform("rt2", sigma=0.5).views(x, draws=draws(5))
    noise = draws(5).at("noise").normal((1, 8, 8))
    assert torch.equal(views.images, (x + 0.5 * noise).clamp(0, 1))
    assert torch.equal(views.keep, transform("rt1").views(x, draws=draws(5)).keep)
    assert (views.images == 0).any()
    assert (views.images == 1).any()


def test_holes_of_the_noisy_image_show_neither_image_nor_noise():
    generator = Generator(1, TINY)
    x, d = images(), draws(5)
    views = transform("rt2").views(x, draws=d)
    hidden = torch.where(views.keep > 0, views.images, torch.full_like(x, 0.77))
    seen, blind = generator(views.images, views.keep), generator(hidden, views.keep)
    assert torch.equal(seen[0], blind[0])
    assert torch.equal(seen[1], blind[1])


def test_rt3_has_disjoint_holes_that_cover_the_image_under_one_noise():
    x = images()
    views = transform("rt3").views(x, draws=draws(5))
    holes = (1 - views.keep).view(4, 5, 8, 8)
    assert torch.equal(holes.sum(0), torch.ones(5, 8, 8))
    assert holes.sum((2, 3)).flatten().tolist() == [16.0] * 20
    noisy = x + 0.25 * draws(5).at("noise").normal((1, 8, 8))
    assert torch.equal(views.images, noisy.repeat(4, 1, 1, 1))


def test_rt3_shares_out_patches_that_do_not_divide_evenly():
    holes = 1 - transform("rt3", patch=4).views(images(2, side=28), draws=draws(2)).keep
    counts = (holes.view(4, 2, -1).sum(2) / 16).int()
    assert sorted(counts[:, 0].tolist()) == [12, 12, 12, 13]
    assert torch.equal(counts.sum(0), torch.tensor([49, 49]))


def test_rt3_takes_from_each_view_what_that_view_did_not_see():
    views = transform("rt3").views(images(), draws=draws(5))
    paint = torch.arange(4.0).repeat_interleave(5).view(20, 1, 1, 1).expand(20, 1, 8, 8)
    composed = views.compose(paint)
    for i in range(4):
        hole = views.keep.view(4, 5, 1, 8, 8)[i] == 0
        assert (composed[hole] == i).all()


def test_with_one_view_the_whole_output_is_the_image():
    filled = images()
    assert Views(filled, torch.zeros(5, 1, 8, 8), 1).compose(filled) is filled


def test_masks_and_noise_are_each_images_own_and_keep_to_it_in_any_batch():
    x = torch.full((4, 1, 8, 8), 0.5)
    whole = transform("rt2").views(x, draws=draws(4))
    alone = transform("rt2").views(x[:1], draws=draws(1, start=3))
    assert len({keep.numpy().tobytes() for keep in whole.keep}) == 4
    assert len({image.numpy().tobytes() for image in whole.images}) == 4
    assert torch.equal(alone.keep[0], whole.keep[3])
    assert torch.equal(alone.images[0], whole.images[3])


def test_every_patch_is_masked_equally_often():
    keep = transform("rt1").views(torch.zeros(4000, 1, 8, 8), draws=draws(4000)).keep
    share = 1 - keep.mean(0)
    assert float((share - 0.25).abs().max()) < 4.5 * (0.25 * 0.75 / 4000) ** 0.5


@pytest.mark.parametrize(
    "wrong",
    [
        {"sigma": -0.1},
        {"sigma": math.nan},
        {"patch": 0},
        {"ratio": 0.0},
        {"ratio": 1.0},
        {"copies": 1},
    ],
)
def test_a_strength_out_of_range_is_refused(wrong):
    with pytest.raises(BenchError, match=next(iter(wrong))):
        transform("rt2", **wrong)


# Presets and networks


@pytest.mark.parametrize(("side", "name"), [(8, "digits"), (28, "28px"), (32, "32px")])
def test_the_shape_chooses_the_preset_and_the_label(side, name):
    assert preset_for("auto", (1, side, side)).name == name
    assert DEFENSES.get("atop")().label((1, side, side)) == f"atop[{name}]"


def test_a_patch_is_an_eighth_of_the_image_where_that_is_whole():
    assert [p.patch for p in PRESETS.values()] == [1, 4, 4]
    assert all(p.ratio == 0.25 for p in PRESETS.values())


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("auto", (3, 256, 256), "256x256"),
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


def widths(layers: nn.Sequential) -> list[int]:
    return [layer.conv.out_channels // 2 for layer in layers if isinstance(layer, GatedConv)]


def test_the_shipped_generator_stays_under_two_megabytes():
    count = sum(p.numel() for p in Generator(1, PRESETS["digits"]).parameters())
    assert 4 * count < 2_000_000


@pytest.mark.parametrize(("name", "c"), [("digits", 1), ("28px", 1), ("32px", 3)])
def test_both_stages_put_out_images_of_the_input_shape(name, c):
    side = PRESETS[name].side
    x1, x2 = Generator(c, PRESETS[name])(images(2, c, side), torch.ones(2, 1, side, side))
    for out in (x1.detach(), x2.detach()):
        assert out.shape == (2, c, side, side)
        assert 0 <= float(out.min()) < float(out.max()) <= 1


def test_the_fine_stage_sees_the_image_where_it_is_kept_and_the_coarse_filling_in_holes():
    generator = Generator(1, TINY)
    given = []
    generator.branches[0].register_forward_hook(lambda _m, inputs, _o: given.append(inputs[0]))
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


# Losses and recipe


def test_the_hinge_losses_are_what_they_are_by_hand():
    real = torch.tensor([[2.0, 0.5], [-1.0, 1.0]])
    fake = torch.tensor([[-3.0, -0.5], [0.0, 2.0]])
    assert float(critic_hinge(real, fake)) == pytest.approx(
        (0 + 0.5 + 2 + 0) / 4 + (0.5 + 1 + 3) / 4
    )
    assert float(generator_hinge(fake)) == pytest.approx(1.5 / 4)


class Stripes(Dataset):
    """Images whose left or right half is light: two classes, 64 images."""

    name = "made-up"
    shape = (1, 8, 8)
    classes = 10
    threat = "linf:0.15"
    model = ""

    def labels(self, split):
        return torch.arange(64) % 2

    def images(self, split, indices):
        x = 0.2 + 0.1 * torch.rand(64, 1, 8, 8, generator=torch.Generator().manual_seed(3))
        x[::2, :, :, :4] += 0.6
        x[1::2, :, :, 4:] += 0.6
        return x[indices]


@pytest.fixture
def tiny(monkeypatch):
    """The digits preset made small, so that training takes a second."""
    monkeypatch.setattr("defenses.atop.presets.PRESETS", {"digits": TINY})
    return Stripes(folder=Path())


def built(tiny, shape=(1, 8, 8), **arguments) -> AToPRecipe:
    """A recipe with an attack that adds .1 instead of FGSM, so that x' is known."""
    recipe = AToPRecipe(batch_size=8, **arguments)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        recipe.build(setting(shape), {"fgsm": lambda _m, x, _y, _d: (x + 0.1).clamp(0, 1)})
    return recipe


@pytest.mark.parametrize(("step", "target"), [(0, "adversarial"), (5, "adversarial"), (5, "clean")])
def test_a_step_reports_the_losses_of_equation_9(tiny, step, target):
    recipe = built(tiny, steps=10, pretraining=5, target=target)
    generator, _ = recipe.modules()["generator"], recipe.modules()["critic"]
    stage, x, y, d = setting(), tiny.images("train", torch.arange(8)), torch.arange(8) % 2, draws(8)
    shown = (x + 0.1).clamp(0, 1) if step >= 5 else x
    views = transform_for(
        TINY, transform="rt2", sigma=None, patch=None, ratio=None, copies=4
    ).views(shown, draws=d.at("transform"))
    with torch.no_grad():
        x1, x2 = generator(views.images, views.keep)
    wanted = x if target == "clean" else shown
    losses = recipe.step(x, y, step=step, draws=d)
    assert losses["l1_coarse"] == pytest.approx(2 * float((x1 - wanted).abs().mean()), rel=1e-5)
    assert losses["l1_fine"] == pytest.approx(2 * float((x2 - wanted).abs().mean()), rel=1e-5)
    ce = nn.functional.cross_entropy(stage.defended()(x2), y)
    assert losses.get("ce") == (pytest.approx(float(ce), rel=1e-5) if step >= 5 else None)


def test_the_codes_gan_leaves_the_generator_alone_and_the_papers_does_not(tiny):
    x, y = tiny.images("train", torch.arange(8)), torch.arange(8) % 2
    after = {}
    for gan, weight in [("paper", 1.0), ("code", 1.0), ("code", 0.0)]:
        recipe = built(tiny, steps=4, pretraining=4, gan=gan)
        if not weight:
            recipe._generator_hinge = lambda x2, _views: 0 * x2.sum()
        recipe.step(x, y, step=0, draws=draws(8))
        after[gan, weight] = recipe.product()["fine.0.conv.weight"].clone()
    assert torch.equal(after["code", 1.0], after["code", 0.0])
    assert not torch.allclose(after["paper", 1.0], after["code", 0.0], atol=1e-7)


def test_the_cross_entropy_reaches_the_generator_and_leaves_the_classifier(tiny):
    x, y = tiny.images("train", torch.arange(8)), torch.arange(8) % 2
    after = []
    for weight in (0.0, 10.0):
        recipe = built(tiny, steps=4, pretraining=0, ce_weight=weight)
        before = recipe._classifier.network[1].weight.clone()
        recipe.step(x, y, step=0, draws=draws(8))
        after.append(recipe.product()["fine.0.conv.weight"].clone())
        assert torch.equal(recipe._classifier.network[1].weight, before)
    assert not torch.allclose(after[0], after[1], atol=1e-7)


def test_the_cross_entropy_comes_in_when_it_is_told_to(tiny):
    recipe = built(tiny, steps=6, pretraining=2, ce_from=2)
    x, y = tiny.images("train", torch.arange(8)), torch.arange(8) % 2
    has_ce = ["ce" in recipe.step(x, y, step=step, draws=draws(8)) for step in range(6)]
    assert has_ce == [False] * 4 + [True] * 2


def test_only_the_discriminators_own_update_moves_its_spectral_norms(tiny):
    recipe = built(tiny, steps=4, pretraining=4)
    critic = recipe.modules()["critic"]
    x = tiny.images("train", torch.arange(8))
    views = Views(x, torch.ones(8, 1, 8, 8), 1)
    before = {name: buffer.clone() for name, buffer in critic.named_buffers()}
    recipe._generator_hinge(x, views)
    assert all(torch.equal(before[name], buffer) for name, buffer in critic.named_buffers())
    recipe._train_critic(x, x, views)
    assert not all(torch.equal(before[name], buffer) for name, buffer in critic.named_buffers())


@pytest.mark.parametrize(
    "wrong", [{"gan": "none"}, {"target": "x"}, {"pretraining": 7}, {"transform": "rt4"}]
)
def test_a_recipe_refuses_what_it_does_not_know(tiny, wrong):
    with pytest.raises(BenchError, match=next(iter(wrong))):
        built(tiny, steps=6, **({"pretraining": 2} | wrong))


@pytest.mark.parametrize("kind", ["rt1", "rt2", "rt3"])
def test_training_lowers_the_loss_and_gives_the_same_bits_again(tiny, kind, tmp_path):
    curves = []
    for name in ("once", "again"):
        seen = []
        recipe = AToPRecipe(
            transform=kind, steps=40, pretraining=20, batch_size=16, learning_rate=5e-3
        )
        train(
            recipe,
            setting(),
            tiny,
            out=tmp_path / f"{name}.safetensors",
            progress=lambda _i, _n, losses, seen=seen: seen.append(losses),
        )
        curves.append(seen)
    fine = [losses["l1_fine"] for losses in curves[0]]
    assert sum(fine[15:20]) < 0.8 * sum(fine[:5])
    assert curves[0] == curves[1]
    once, again = (tmp_path / f"{name}.safetensors" for name in ("once", "again"))
    assert once.read_bytes() == again.read_bytes()


def test_training_that_was_cut_in_two_ends_with_the_same_weights(tiny, tmp_path):
    def run(out: Path, stop_at: int | None) -> None:
        def stop(done: int, _n: int, _losses: dict[str, float]) -> None:
            if done == stop_at:
                raise KeyboardInterrupt

        recipe = AToPRecipe(steps=12, pretraining=4, batch_size=16)
        options = TrainingOptions(checkpoint_seconds=0)
        train(recipe, setting(), tiny, out=out, options=options, progress=stop)

    whole, cut = tmp_path / "whole.safetensors", tmp_path / "cut.safetensors"
    run(whole, None)
    with pytest.raises(KeyboardInterrupt):
        run(cut, 7)
    run(cut, None)
    assert whole.read_bytes() == cut.read_bytes()


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32)])
def test_the_larger_presets_build_and_train(shape):
    recipe = AToPRecipe(steps=3, pretraining=1, batch_size=2)
    recipe.build(setting(shape), {"fgsm": lambda _m, x, _y, _d: x})
    x = images(2, shape[0], shape[1])
    before = recipe.product()["fine.0.conv.weight"].clone()
    losses = [recipe.step(x, torch.tensor([0, 1]), step=i, draws=draws(2)) for i in range(3)]
    assert all(math.isfinite(value) for step in losses for value in step.values())
    assert not torch.equal(before, recipe.product()["fine.0.conv.weight"])


# The defense


def weights(tmp_path: Path, preset=PRESETS["digits"]) -> Path:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        state = Generator(1, preset).state_dict()
    save_safetensors(dict(state), tmp_path / "w.safetensors")
    return tmp_path / "w.safetensors"


def test_purifying_is_transforming_then_generating(tmp_path):
    path = weights(tmp_path)
    defense = AToP()
    defense.prepare(setting(weights=path))
    generator = Generator(1, PRESETS["digits"])
    generator.load_state_dict(load_safetensors(path))
    views = transform("rt2").views(images(), draws=draws(5))
    with torch.no_grad():
        assert torch.equal(
            defense(images(), draws=draws(5)), generator(views.images, views.keep)[1]
        )


def test_missing_weights_are_one_line_with_the_command_that_makes_them():
    with pytest.raises(BenchError, match="bench train --defense atop"):
        AToP().prepare(setting())


def test_weights_of_another_network_are_refused_by_the_first_name_that_differs(tmp_path):
    with pytest.raises(BenchError, match=r"branches\.0.*another|another.*branches\.0"):
        AToP().prepare(setting(weights=weights(tmp_path, TINY)))


def test_the_surrogate_is_the_papers_identity():
    x = images()
    assert AToP().surrogate(x, draws=draws(5)) is x
