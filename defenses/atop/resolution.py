"""Purifying at another resolution than the classifier's: there and back."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmark.errors import BenchError

SHORTER = 8
"""The least side, in pixels, of what images are enlarged to."""


def shape_at(shape: tuple[int, int, int], upscale: int | None) -> tuple[int, int, int]:
    """The shape `(c, h, w)` at which images are purified.

    Args:
        shape: Of the images.
        upscale: Height and width of what they are enlarged to; None leaves them as they are.

    Raises:
        BenchError: It would make them smaller.
    """
    if upscale is None:
        return shape
    if upscale < max(SHORTER, *shape[1:]):
        raise BenchError(
            f"upscale is a number of pixels that is not below the images' own {shape[1]}x{shape[2]}; got "
            f"{upscale!r}"
        )
    return shape[0], upscale, upscale


def resized(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Images `(b, c, h, w)` brought to another height and width bilinearly; the same tensor where they have it.

    On the way down every pixel counts (the filter grows with the factor), so that nothing hides between the
    pixels that are read. Two matrix products, whose derivative is deterministic on any device.
    """
    height, width = shape[-2:]
    if tuple(x.shape[-2:]) == (height, width):
        return x
    return weights(x.shape[-2], height).to(x) @ x @ weights(x.shape[-1], width).to(x).T


def weights(size: int, wanted: int) -> Tensor:
    """How much each of so many pixels in a row counts in each of the wanted ones, `(wanted, size)` float64."""
    factor = size / wanted
    centres = (torch.arange(wanted, dtype=torch.float64) + 0.5) * factor
    places = torch.arange(size, dtype=torch.float64) + 0.5
    away = (places - centres[:, None]).abs() / max(1.0, factor)
    hats = (1 - away).clamp_min(0.0)
    return hats / hats.sum(1, keepdim=True)
