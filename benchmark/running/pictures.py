"""Pictures: images put together on one sheet, and written as a PNG whose bytes hang on the pixels alone."""

from __future__ import annotations

import zlib

import torch
from torch import Tensor

from benchmark.publishing.sheets import header, png


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
    packed = zlib.compress(_filtered(sheet.flatten(1), c + 1), 9)
    return png({b"IHDR": header(width, height, c), b"IDAT": packed, b"IEND": b""})


def _filtered(rows: Tensor, step: int) -> bytes:
    """Rows `(h, n)` uint8, each under the filter that leaves the least (PNG specification, sections 9.2, 12.7).

    Args:
        rows: Bytes of each row.
        step: Bytes of a pixel.
    """
    x = rows.int()
    left = torch.nn.functional.pad(x, (step, 0))[:, : x.shape[1]]
    up = torch.nn.functional.pad(x, (0, 0, 1, 0))[: x.shape[0]]
    corner = torch.nn.functional.pad(left, (0, 0, 1, 0))[: x.shape[0]]
    guesses = [torch.zeros_like(x), left, up, (left + up) // 2, _paeth(left, up, corner)]
    found = torch.stack([(x - guess) % 256 for guess in guesses])  # (5, h, n)
    sizes = torch.minimum(found, 256 - found).sum(2)  # (5, h)
    lines = [
        bytes([kind]) + bytes(found[kind, i].tolist())
        for i, kind in enumerate(sizes.argmin(0).tolist())
    ]
    return b"".join(lines)


def _paeth(left: Tensor, up: Tensor, corner: Tensor) -> Tensor:
    """Of the three neighbours the one that is nearest to left + up - corner."""
    guess = left + up - corner
    near = torch.stack([(guess - each).abs() for each in (left, up, corner)])
    closer = torch.where(near[1] <= near[2], up, corner)
    return torch.where((near[0] <= near[1]) & (near[0] <= near[2]), left, closer)
