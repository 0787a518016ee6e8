"""AToP's transforms and purifier against facts that can be computed by hand."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from benchmark.errors import BenchError
from benchmark.files.weights import load_safetensors, save_safetensors
from defenses.atop.atop import AToP
from defenses.atop.network import Generator
from defenses.atop.presets import PRESETS
from defenses.atop.transforms import Views
from tests.helpers.small_atop import draws, images, setting, transform

TINY = replace(PRESETS["digits"], width=4, critic=(4, 4, 4))


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
    views = transform("rt2", sigma=PRESETS["digits"].sigma).views(images(), draws=draws(5))
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
