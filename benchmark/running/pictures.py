"""Pictures: images put together on one sheet, and written as a PNG of the pixels alone."""

from __future__ import annotations

import torch
from PIL import Image
from torch import Tensor

from benchmark.publishing.sheets import MODES, packed


def eight_bits(x: Tensor) -> Tensor:
    """Images in [0, 1] as whole numbers from 0 to 255, rounded, on the CPU."""
    return (x.detach().double().clamp(0, 1) * 255).round().to("cpu", torch.uint8)


def about_grey(change: Tensor, scale: int) -> Tensor:
    """A change in [-1, 1], so many times as large, about a middle grey; cut where it leaves [0, 1]."""
    return (0.5 + scale * change.detach().double()).clamp(0, 1)


def sheet_of(tiles: Tensor, gap: int) -> bytes:
    """A PNG of pictures in rows and columns, with transparent pixels in between.

    Args:
        tiles: `(rows, columns, c, h, w)` uint8, of 1 or 3 channels.
        gap: Pixels in between.
    """
    rows, columns, c, h, w = tiles.shape
    sheet = torch.zeros(rows * (h + gap), columns * (w + gap), c + 1, dtype=torch.uint8)
    for i in range(rows):
        for j in range(columns):
            top, left = i * (h + gap), j * (w + gap)
            sheet[top : top + h, left : left + w, :c] = tiles[i, j].permute(1, 2, 0)
            sheet[top : top + h, left : left + w, c] = 255
    sheet = sheet[: rows * (h + gap) - gap, : columns * (w + gap) - gap]
    height, width = sheet.shape[:2]
    return packed(Image.frombytes(MODES[c], (width, height), sheet.contiguous().numpy().tobytes()))
