"""Trust-no-pixel: no pixel of the output has seen the pixel of the input that it replaces."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmark.errors import BenchError
from benchmark.files.weights import save_safetensors
from benchmark.training.loop import train
from benchmark.training.record import TrainingOptions
from defenses.atop.network import Generator
from defenses.atop.presets import PRESETS
from defenses.atop.trust_no_pixel import TrustNoPixel
from defenses.atop.trust_no_pixel_recipe import TrustNoPixelRecipe
from tests.helpers.small_atop import Stripes, draws, images, setting, transform

TINY = replace(PRESETS["digits"], width=4, critic=(4, 4, 4))


@pytest.fixture
def tiny(monkeypatch):
    """The digits preset made small, so that training takes a second."""
    monkeypatch.setattr("defenses.atop.presets.PRESETS", {"digits": TINY})
    return Stripes(folder=Path())


def prepared(tmp_path: Path, **arguments) -> TrustNoPixel:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        save_safetensors(dict(Generator(1, TINY).state_dict()), tmp_path / "w.safetensors")
    defense = TrustNoPixel(**arguments)
    defense.prepare(setting(weights=tmp_path / "w.safetensors"))
    return defense


def test_every_pixel_lies_in_the_hole_of_exactly_one_of_twelve_masks_and_there_is_no_noise():
    x = images()
    views = transform("pixels", copies=12).views(x, draws=draws(5))
    assert views.count == 12
    assert torch.equal((1 - views.keep).view(12, 5, 8, 8).sum(0), torch.ones(5, 8, 8))
    assert torch.equal(views.images, x.repeat(12, 1, 1, 1))


def test_pixels_are_assigned_uniformly_and_independently_of_one_another():
    n = 4000
    groups = transform("pixels", copies=12).groups(8, 8, draws=draws(n))
    counts = torch.stack([(groups == i).double().mean((0, 1, 2)) for i in range(12)])
    assert float((counts - 1 / 12).abs().max()) < 5 * (1 / 12 * 11 / 12 / (64 * n)) ** 0.5
    same = (groups[:, :, 1:] == groups[:, :, :-1]).double().mean()
    assert abs(float(same) - 1 / 12) < 5 * (1 / 12 * 11 / 12 / (56 * n)) ** 0.5
    sizes = (groups == 0).flatten(1).sum(1).double()
    assert float(sizes.var()) == pytest.approx(64 / 12 * 11 / 12, rel=0.15)  # binomial, not fixed


def test_a_tile_is_assigned_whole():
    groups = transform("pixels", copies=12, patch=4).groups(8, 8, draws=draws(3))
    assert groups.shape == (3, 8, 8)
    assert torch.equal(groups, groups[:, ::4, ::4].repeat_interleave(4, 1).repeat_interleave(4, 2))


def test_of_all_views_one_an_image_may_be_asked_for():
    x = images()
    pixels = transform("pixels", copies=12)
    whole, one = (pixels.views(x, draws=draws(5), is_one=is_one) for is_one in (False, True))
    assert one.count == 1
    assert one.keep.shape == (5, 1, 8, 8)
    by_image = whole.keep.view(12, 5, 1, 8, 8).transpose(0, 1)
    assert all(
        any(torch.equal(keep, view) for view in views)
        for keep, views in zip(one.keep, by_image, strict=True)
    )


def test_no_output_pixel_hangs_on_an_input_pixel_of_its_own_mask(tiny, tmp_path):
    defense = prepared(tmp_path, copies=4)
    x, d = images(1).requires_grad_(), draws(1)
    groups = transform("pixels", copies=4).groups(8, 8, draws=d)[0].flatten()
    out = defense(x, draws=d).flatten()
    for i in (0, 9, 27, 63):
        (gradient,) = torch.autograd.grad(out[i], x, retain_graph=True)
        own = groups == groups[i]
        assert (gradient.flatten()[own] == 0).all()
        assert (gradient.flatten()[~own] != 0).any()


def test_purifying_composes_what_the_generator_puts_into_the_holes(tiny, tmp_path):
    defense = prepared(tmp_path)
    views = transform("pixels", copies=12).views(images(), draws=draws(5))
    with torch.no_grad():
        _, filled = defense._network(views.images, views.keep)
        holes = ((1 - views.keep) * filled).view(12, 5, 1, 8, 8).sum(0)
        assert torch.equal(defense(images(), draws=draws(5)), holes)


def test_the_auxiliary_loss_is_how_far_pixels_are_from_what_the_others_say(tiny, tmp_path):
    defense = prepared(tmp_path)
    x = images()
    out = defense(x, draws=draws(5))
    expected = (out - x).abs().mean((1, 2, 3))
    assert torch.allclose(defense.auxiliary_loss(x, draws=draws(5)), expected)
    defense._network = lambda image, _keep: (image, image)
    assert torch.equal(defense.auxiliary_loss(x, draws=draws(5)), torch.zeros(5))


@pytest.mark.parametrize(
    ("arguments", "label"),
    [
        ({}, "trust-no-pixel[digits]"),
        ({"tuned": True}, "trust-no-pixel[digits-atop]"),
        ({"upscale": 256}, "trust-no-pixel[at256px]"),
    ],
)
def test_what_the_weights_were_trained_for_stands_in_the_label(arguments, label):
    assert TrustNoPixel(**arguments).label((1, 8, 8)) == label


def test_its_training_sees_clean_images_only_and_one_mask_of_each(tiny):
    recipe = TrustNoPixelRecipe(steps=4, batch_size=8)
    assert recipe.attacks_for(setting()) == ()
    with torch.random.fork_rng():
        torch.manual_seed(1)
        recipe.build(setting(), {})
    generator, seen = recipe.modules()["generator"], []
    generator.register_forward_pre_hook(lambda _m, inputs: seen.append(inputs))
    x, y = tiny.images("train", torch.arange(8)), torch.arange(8) % 2
    losses = recipe.step(x, y, step=3, draws=draws(8))
    assert set(losses) == {"critic", "l1_coarse", "l1_fine", "gan"}
    assert torch.equal(seen[0][0], x)
    views = transform("pixels", copies=12).views(x, draws=draws(8).at("transform"), is_one=True)
    assert torch.equal(seen[0][1], views.keep)


def test_atops_fine_tuning_may_follow_through_all_masks(tiny):
    recipe = TrustNoPixelRecipe(tuned=True, copies=3, steps=4, pretraining=2, batch_size=8)
    assert recipe.attacks_for(setting()) == ("fgsm",)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        recipe.build(setting(), {"fgsm": lambda _m, x, _y, _d: (x + 0.1).clamp(0, 1)})
    seen = []
    recipe.modules()["generator"].register_forward_pre_hook(
        lambda _m, inputs: seen.append(len(inputs[0]))
    )
    x, y = tiny.images("train", torch.arange(8)), torch.arange(8) % 2
    has_ce = ["ce" in recipe.step(x, y, step=i, draws=draws(8)) for i in range(4)]
    assert has_ce == [False, False, True, True]
    assert seen == [8, 8, 24, 24]


def test_training_lowers_the_loss_and_goes_on_to_the_same_bits_after_a_kill(tiny, tmp_path):
    def run(out: Path, stop_at: int | None) -> list[float]:
        seen = []

        def stop(done: int, _n: int, losses: dict[str, float]) -> None:
            seen.append(losses["l1_fine"])
            if done == stop_at:
                raise KeyboardInterrupt

        recipe = TrustNoPixelRecipe(steps=30, batch_size=16, learning_rate=5e-3)
        options = TrainingOptions(checkpoint_seconds=0)
        train(recipe, setting(), tiny, out=out, options=options, progress=stop)
        return seen

    whole, cut = tmp_path / "whole.safetensors", tmp_path / "cut.safetensors"
    losses = run(whole, None)
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])
    with pytest.raises(KeyboardInterrupt):
        run(cut, 11)
    run(cut, None)
    assert whole.read_bytes() == cut.read_bytes()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [({"copies": 1}, "copies"), ({"tile": 0}, "patch"), ({"preset": "digit"}, "Did you mean")],
)
def test_wrong_arguments_are_refused_in_one_line(wrong, message):
    with pytest.raises(BenchError, match=message):
        TrustNoPixel(**wrong).prepare(setting())
    with pytest.raises(BenchError, match=message):
        TrustNoPixelRecipe(**wrong).build(setting(), {})


def test_missing_weights_are_one_line_with_the_command_that_makes_them():
    with pytest.raises(BenchError, match="bench train --defense trust-no-pixel"):
        TrustNoPixel().prepare(setting())
