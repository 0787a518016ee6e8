"""Contextual attention against what it is by definition: it copies, from outside holes, what looks alike."""

import pytest
import torch
from torch import nn

from defenses.atop.attention import ContextualAttention, fused, outside_holes

SHARP = 1e4


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_a_hole_is_filled_with_the_patch_outside_that_looks_like_it():
    tile = noise(1, 4, 16, 16)
    x = torch.cat((tile, tile), dim=3)  # (1, 4, 16, 32): everything is there twice
    x[:, :, 1::2, 16:] += 5.0  # pixels that are copied, but not compared
    keep = torch.ones(1, 1, 64, 128)
    keep[:, :, 16:48, 16:48] = 0  # in the left half: features 4 to 12
    out = ContextualAttention(scale=SHARP, fuse=1)(x, keep)
    inside = (slice(None), slice(None), slice(5, 11), slice(5, 11))
    assert torch.allclose(out[inside], x[..., 16:][inside], atol=1e-5)
    assert not torch.allclose(out[inside], x[inside], atol=1.0)


def test_outside_holes_a_patch_that_is_like_no_other_stays_as_it_is():
    x = noise(1, 4, 16, 16)
    out = ContextualAttention(scale=SHARP, fuse=1)(x, torch.ones(1, 1, 16, 16))
    assert torch.allclose(out, x, atol=1e-5)


def test_likeness_is_a_cosine_so_that_brightness_does_not_matter():
    x, keep = noise(1, 4, 8, 8), torch.ones(1, 1, 8, 8)
    attention = ContextualAttention()
    assert torch.allclose(attention(7 * x, keep), 7 * attention(x, keep), atol=1e-4)


def test_fusing_sums_what_neighbours_share_first_along_rows_then_along_columns():
    likeness = noise(2, 3, 4, 3, 4)
    rows = torch.zeros_like(likeness)
    for i in (-1, 0, 1):
        for a in range(4):
            for b in range(4):
                if 0 <= a + i < 4 and 0 <= b + i < 4:
                    rows[:, :, a, :, b] += likeness[:, :, a + i, :, b + i]
    both = torch.zeros_like(likeness)
    for i in (-1, 0, 1):
        for a in range(3):
            for b in range(3):
                if 0 <= a + i < 3 and 0 <= b + i < 3:
                    both[:, a, :, b] += rows[:, a + i, :, b + i]
    assert torch.allclose(fused(likeness, 3), both, atol=1e-6)
    assert torch.equal(fused(likeness, 1), likeness)


def test_fusing_a_single_likeness_spreads_it_along_the_diagonal():
    likeness = torch.zeros(1, 1, 4, 1, 4)
    likeness[0, 0, 1, 0, 2] = 1.0
    found = {(int(a), int(b)) for _, _, a, _, b in fused(likeness, 3).nonzero()}
    assert found == {(0, 1), (1, 2), (2, 3)}


def test_a_patch_is_outside_where_none_of_its_nine_cells_is_a_hole():
    keep = torch.ones(1, 1, 32, 32)
    keep[:, :, 8, 16] = 0  # the pixel that speaks for cell (1, 2) of 4 x 4
    keep[:, :, 3, 3] = 0  # one that speaks for none
    expected = torch.tensor([[1, 0, 0, 0], [1, 0, 0, 0], [1, 0, 0, 0], [1, 1, 1, 1]])
    assert torch.equal(outside_holes(keep, (4, 4)).view(4, 4), expected.float())


def test_each_image_has_its_own_holes_whatever_else_is_in_the_batch():
    x = noise(3, 4, 16, 16)
    keep = torch.ones(3, 1, 16, 16)
    keep[0, :, :8], keep[1, :, :, 8:] = 0, 0
    attention = ContextualAttention()
    whole = attention(x, keep)
    for i in range(3):
        assert torch.allclose(attention(x[[i]], keep[[i]])[0], whole[i], atol=1e-6)
    assert not torch.allclose(attention(x[[0]], keep[[1]])[0], whole[0], atol=1e-3)


def test_an_image_that_is_all_hole_gives_nothing_and_no_nan():
    out = ContextualAttention()(noise(1, 4, 8, 8), torch.zeros(1, 1, 8, 8))
    assert torch.equal(out, torch.zeros_like(out))


def test_its_gradient_is_that_of_finite_differences():
    x = noise(1, 2, 8, 8).double().requires_grad_()
    keep = torch.ones(1, 1, 8, 8, dtype=torch.float64)
    keep[..., :2, :2] = 0
    assert torch.autograd.gradcheck(ContextualAttention(), (x, keep))


@pytest.mark.parametrize("rate", [2, 4])
def test_it_has_no_weights_and_keeps_shapes(rate):
    attention = ContextualAttention(rate=rate)
    assert not list(attention.parameters())
    assert isinstance(attention, nn.Module)
    assert attention(noise(2, 3, 16, 8), torch.ones(2, 1, 32, 16)).shape == (2, 3, 16, 8)
