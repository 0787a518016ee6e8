"""AToP on images that are mostly black: neither stage ends in the constant that L1 likes best."""

import pytest
import torch
from torch import Tensor

from benchmark.errors import BenchError
from defenses.atop.presets import PRESETS
from defenses.atop.recipe import AToPRecipe, l1
from tests.helpers.small_atop import draws, setting

SIDE, STEPS, BATCH = 28, 100, 16


def strokes(n: int) -> Tensor:
    """White lines on black, one from each of two places to another: `(n, 1, 28, 28)`."""
    generator = torch.Generator().manual_seed(4)
    ends = SIDE * (0.15 + 0.7 * torch.rand(n, 2, 2, 2, generator=generator))
    rows, columns = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    pixels = torch.stack((rows, columns), dim=-1).float().reshape(1, 1, -1, 2)
    start, along = ends[:, :, None, 0], ends[:, :, None, 1] - ends[:, :, None, 0]
    share = ((pixels - start) * along).sum(-1) / along.square().sum(-1).clamp_min(1)
    nearest = start + share.clamp(0, 1)[..., None] * along
    distance = (pixels - nearest).norm(dim=-1).amin(1)
    return (2 - distance).clamp(0, 1).reshape(n, 1, SIDE, SIDE)


def distances() -> dict[str, float]:
    """Mean distance of what both stages make after some steps, in units of that of a black image."""
    torch.manual_seed(0)
    recipe = AToPRecipe(preset="28px-small", tuned=False)
    recipe.build(setting((1, SIDE, SIDE)), {})
    x, y = strokes(STEPS * BATCH), torch.zeros(BATCH, dtype=torch.int64)
    for step in range(STEPS):
        chosen = x[step * BATCH : (step + 1) * BATCH]
        recipe.step(chosen, y, step=step, draws=draws(BATCH, start=step * BATCH))
    shown = x[:64]
    with torch.no_grad():
        views = recipe._transform.views(shown, draws=draws(64))
        made = recipe._generator(views.images, views.keep)
    black = float(shown.mean())
    return {
        name: float((out - shown).abs().mean()) / black
        for name, out in zip(("coarse", "fine"), made, strict=True)
    }


@pytest.mark.slow
def test_both_stages_learn_strokes_on_black():
    assert max(distances().values()) < 0.8  # 1 without the tolerance, and without the ground


def test_small_differences_count_as_their_square_and_none_with_tolerance_0():
    made = torch.tensor([0.5, 0.55, 0.2])
    wanted = torch.full((3,), 0.5)
    on_scale = torch.tensor([0.0, 0.1, 0.6])
    assert float(l1(made, wanted, tolerance=0.0)) == pytest.approx(float(on_scale.mean()))
    by_hand = torch.tensor([0.0, 0.1**2 / 0.4, 0.6 - 0.1])
    assert float(l1(made, wanted, tolerance=0.2)) == pytest.approx(float(by_hand.mean()))


def test_tolerance_and_ground_are_the_presets_and_none_but_on_images_like_mnists():
    black = {"28px", "28px-small"}
    assert {p.name for p in PRESETS.values() if p.tolerance} == black
    assert {p.name for p in PRESETS.values() if p.ground is not None} == black
    recipe = AToPRecipe(preset="28px-small", tuned=False)
    recipe.build(setting((1, SIDE, SIDE)), {})
    assert recipe._preset.tolerance == PRESETS["28px-small"].tolerance
    assert (recipe._generator.coarse[-1].bias == PRESETS["28px-small"].ground).all()
    assert (recipe._generator.fine[-1].bias == PRESETS["28px-small"].ground).all()


@pytest.mark.parametrize("tolerance", [-0.1, float("nan")])
def test_a_tolerance_below_0_is_refused(tolerance):
    recipe = AToPRecipe(preset="28px-small", tuned=False, tolerance=tolerance)
    with pytest.raises(BenchError, match="tolerance"):
        recipe.build(setting((1, SIDE, SIDE)), {})
