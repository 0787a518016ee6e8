"""AToP's options: labels of weights trained otherwise, other attacks, other resolutions, augmentation."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from benchmark.errors import BenchError
from benchmark.files.weights import save_safetensors
from benchmark.recipe import mirrored
from benchmark.training.attacks import training_attacks
from defenses.atop.atop import AToP
from defenses.atop.mae_recipe import MAERecipe
from defenses.atop.network import Generator
from defenses.atop.presets import PRESETS
from defenses.atop.recipe import AToPRecipe
from defenses.atop.resolution import resized, shape_at
from defenses.atop.trust_no_pixel_recipe import TrustNoPixelRecipe
from defenses.atop.two_phases import Pipeline, pretraining_of
from tests.helpers.small_atop import Stripes, draws, images, setting

TINY = replace(PRESETS["digits"], width=4, critic=(4, 4, 4))
LARGE = replace(TINY, name="large", side=16, patch=2)


@pytest.fixture
def tiny(monkeypatch):
    """Presets of 8 and 16 pixels made small, so that training takes a second."""
    monkeypatch.setattr("defenses.atop.presets.PRESETS", {"digits": TINY, "large": LARGE})
    return Stripes(folder=Path())


def built(shape=(1, 8, 8), **arguments) -> AToPRecipe:
    recipe = AToPRecipe(**{"batch_size": 8, "steps": 4, "pretraining": 1} | arguments)
    stage = setting(shape)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        recipe.build(stage, training_attacks(recipe.attacks_for(stage), stage))
    return recipe


@pytest.mark.parametrize(
    ("arguments", "label"),
    [
        ({"transform": "rt3"}, "atop[digits-rt3]"),
        ({"tuned": False}, "atop[digits-pretrained]"),
        ({"transform": "rt1", "tuned": False}, "atop[digits-rt1-pretrained]"),
        ({"upscale": 256}, "atop[at256px]"),
        ({"upscale": 32, "transform": "rt3"}, "atop[32px-rt3-at32px]"),
    ],
)
def test_weights_that_were_trained_otherwise_have_a_label_of_their_own(arguments, label):
    assert AToP(**arguments).label((1, 8, 8)) == label


def test_on_large_images_the_papers_own_training_has_no_bracket():
    assert AToP().label((3, 224, 224)) == "atop"
    assert AToP(transform="rt3").label((3, 224, 224)) == "atop[rt3]"


def test_trust_no_pixels_transform_is_not_one_of_atops():
    with pytest.raises(BenchError, match="transform"):
        AToP(transform="pixels").label((1, 8, 8))


def test_steps_and_pretraining_come_from_the_preset_unless_they_are_given():
    digits = AToPRecipe().length(setting(), 1000)
    assert (digits.steps, digits.batch_size) == (4000, 64)
    large = AToPRecipe().length(setting((3, 256, 256)), 1000)
    assert (large.steps, large.batch_size) == (80000, 8)
    assert AToPRecipe(steps=7, batch_size=2).length(setting(), 1000).steps == 7
    assert pretraining_of(4000, None, share=500 / 4000) == 500
    assert pretraining_of(400, None, share=500 / 4000) == 50
    assert pretraining_of(400, 7, share=0.5) == 7


@pytest.mark.parametrize(
    ("recipe", "arguments"),
    [
        (AToPRecipe, {"upscale": 16, "through": "pipeline"}),
        (TrustNoPixelRecipe, {"tuned": True}),
        (MAERecipe, {"upscale": None}),
    ],
)
def test_training_in_mixed_precision_keeps_losses_finite_and_near(tiny, recipe, arguments):
    x, y = tiny.images("train", torch.arange(8)), torch.arange(8) % 2
    found = []
    for is_mixed in (False, True):
        trained = recipe(batch_size=8, steps=4, pretraining=1, **arguments)
        with torch.random.fork_rng():
            torch.manual_seed(1)
            trained.build(setting(), training_attacks(trained.attacks_for(setting()), setting()))
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=is_mixed):
            found.append([trained.step(x, y, step=i, draws=draws(8)) for i in range(2)])
    full, mixed = found
    assert mixed[0] == pytest.approx(full[0], abs=0.05)
    assert mixed[1].keys() == full[1].keys()
    assert "ce" in mixed[1]
    assert all(math.isfinite(loss) for loss in mixed[1].values())


def test_without_a_fine_tuning_there_is_no_attack_and_no_cross_entropy(tiny):
    recipe = built(tuned=False, pretraining=None)
    assert recipe.attacks_for(setting()) == ()
    x, y = tiny.images("train", torch.arange(8)), torch.arange(8) % 2
    assert all("ce" not in recipe.step(x, y, step=i, draws=draws(8)) for i in range(4))


def test_the_attack_in_training_is_an_argument_and_pgd_is_stronger_than_fgsm(tiny):
    x, y = tiny.images("train", torch.arange(8)), torch.arange(8) % 2
    ce = {}
    for attack in ("fgsm", "pgd(steps=10, step_size=0.3, random_start=False)"):
        recipe = built(attack=attack)
        assert recipe.attacks_for(setting()) == (attack,)
        x_adv = recipe.attacked(x, y, draws(8))
        assert float((x_adv - x).abs().max()) <= 0.15 + 1e-6
        ce[attack] = float(nn.functional.cross_entropy(setting().defended()(x_adv), y))
    clean = float(nn.functional.cross_entropy(setting().defended()(x), y))
    fgsm, pgd = ce.values()
    assert clean < fgsm <= pgd + 1e-6


def test_attacking_the_pipeline_raises_the_pipelines_loss_and_is_repeatable(tiny):
    x, y = tiny.images("train", torch.arange(8)), torch.arange(8) % 2
    loss = {}
    for through in ("classifier", "pipeline"):
        recipe = built(attack="pgd(steps=20, step_size=0.2)", through=through, eot=4)
        x_adv = recipe.attacked(x, y, draws(8))
        assert torch.equal(x_adv, recipe.attacked(x, y, draws(8)))
        whole = Pipeline(recipe.purified, setting().defended(), draws(8).at("judge"), eot=64)
        with torch.no_grad():
            loss[through] = float(nn.functional.cross_entropy(whole(x_adv), y))
    assert loss["pipeline"] > loss["classifier"]


def test_a_pipeline_averages_logits_over_fresh_draws_at_each_call(tiny):
    recipe = built()
    x, d = images(3), draws(3)
    whole = Pipeline(recipe.purified, setting().defended(), d, eot=2)
    with torch.no_grad():
        first, second = whole(x), whole(x)
        rows = d.at("call", 0).repeat(2)
        each = setting().defended()(recipe.purified(x.repeat_interleave(2, 0), rows))
    assert torch.allclose(first, each.view(3, 2, 10).mean(1))
    assert not torch.equal(first, second)


@pytest.mark.parametrize(
    "wrong", [{"through": "both"}, {"eot": 0}, {"attack": "fgms"}, {"upscale": 4}, {"upscale": 99}]
)
def test_a_recipe_refuses_options_that_it_does_not_know(tiny, wrong):
    with pytest.raises(BenchError, match=str(next(iter(wrong.values())))):
        built(**wrong)


def test_images_that_are_enlarged_are_purified_there_and_brought_back(tiny, tmp_path):
    with torch.random.fork_rng():
        torch.manual_seed(3)
        save_safetensors(dict(Generator(1, LARGE).state_dict()), tmp_path / "w.safetensors")
    defense = AToP(upscale=16)
    defense.prepare(setting(weights=tmp_path / "w.safetensors"))
    asked = []
    inner = defense._network
    defense._network = lambda image, keep: asked.append(image.shape) or inner(image, keep)
    assert defense(images(), draws=draws(5)).shape == (5, 1, 8, 8)
    assert asked == [(5, 1, 16, 16)]
    assert defense.label((1, 8, 8)) == "atop[large-at16px]"


def test_training_at_another_resolution_attacks_and_classifies_at_the_images_own(tiny):
    recipe = built(upscale=16, pretraining=0)
    sizes = []
    recipe.modules()["generator"].register_forward_pre_hook(
        lambda _m, inputs: sizes.append(inputs[0].shape[2])
    )
    x, y = tiny.images("train", torch.arange(8)), torch.arange(8) % 2
    assert "ce" in recipe.step(x, y, step=0, draws=draws(8))
    assert sizes == [16]


def test_there_and_back_leaves_a_smooth_image_nearly_as_it_was():
    ramp = torch.linspace(0, 1, 32).expand(1, 3, 32, 32)
    there = resized(ramp, (3, 256, 256))
    assert there.shape == (1, 3, 256, 256)
    back = resized(there, (3, 32, 32))
    assert float((back - ramp)[..., 2:-2].abs().max()) < 1e-3
    assert resized(ramp, (3, 32, 32)) is ramp
    x = images(2, 3, 256)
    assert torch.allclose(resized(x, (32, 32)).mean(), x.mean(), atol=1e-3)  # every pixel counts
    assert 0 <= float(resized(x, (32, 32)).min()) <= float(resized(x, (32, 32)).max()) <= 1


@pytest.mark.parametrize(("side", "wanted"), [(32, 256), (32, 224), (256, 32), (224, 32), (28, 40)])
def test_resizing_is_torchs_bilinear_with_antialiasing(side, wanted):
    x = images(2, 3, side).double()
    theirs = nn.functional.interpolate(
        x, size=(wanted, wanted), mode="bilinear", align_corners=False, antialias=True
    )
    assert torch.allclose(resized(x, (wanted, wanted)), theirs, atol=1e-6)


def test_nothing_is_purified_at_a_lower_resolution():
    assert shape_at((3, 32, 32), None) == (3, 32, 32)
    assert shape_at((3, 32, 32), 256) == (3, 256, 256)
    with pytest.raises(BenchError, match="upscale"):
        shape_at((3, 32, 32), 16)


def test_mirroring_turns_about_half_of_the_images_each_by_itself():
    x = images(400)
    out = mirrored(x, draws=draws(400))
    is_turned = (out == x.flip(3)).flatten(1).all(1)
    is_same = (out == x).flatten(1).all(1)
    assert (is_turned ^ is_same).all()
    assert 150 < int(is_turned.sum()) < 250
    one = torch.tensor([7])
    assert torch.equal(mirrored(x[one], draws=draws(400).take(one))[0], out[7])


@pytest.mark.parametrize(
    ("dataset", "side", "expected"),
    [
        ("digits", 8, (0, False)),
        ("mnist", 28, (0, False)),
        ("cifar10", 32, (0, True)),
        ("imagenette", 224, (28, True)),
    ],
)
def test_augmentation_hangs_on_the_dataset_unless_it_is_given(dataset, side, expected):
    stage = replace(setting((3, side, side)), dataset=dataset)
    chosen, given = AToPRecipe(), AToPRecipe(shift=2, flip=False)
    for recipe in (chosen, given):
        recipe.plan(stage, {"fgsm": lambda _m, x, _y, _d: x})
    assert (chosen._shift, chosen._flip) == expected
    assert (given._shift, given._flip) == (2, False)
