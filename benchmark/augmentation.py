"""What training does to images at random: moved and mirrored, each by itself."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

from benchmark.randomness import Draws

MIRRORED = frozenset({"cifar10", "cifar100", "tiny_imagenet", "imagenette", "imagenet"})
"""Datasets whose classes a mirror does not change; a mirrored digit is another or none."""


def shifted(x: Tensor, reach: int, *, draws: Draws) -> Tensor:
    """Images `(b, c, h, w)`, each moved by up to `reach` pixels along both axes; black comes in."""
    if not reach:
        return x
    b, c, h, w = x.shape
    offsets = draws.integers(2 * reach + 1, (2,))  # (b, 2)
    rows = offsets[:, 0, None] + torch.arange(h, device=x.device)  # (b, h)
    columns = offsets[:, 1, None] + torch.arange(w, device=x.device)  # (b, w)
    images = torch.arange(b, device=x.device)[:, None, None, None]
    channels = torch.arange(c, device=x.device)[None, :, None, None]
    return pad(x, (reach,) * 4)[images, channels, rows[:, None, :, None], columns[:, None, None, :]]


def mirrored(x: Tensor, *, draws: Draws) -> Tensor:
    """Images `(b, c, h, w)`, each turned left to right with probability one half."""
    turns = draws.integers(2).bool().view(-1, 1, 1, 1)
    return torch.where(turns, x.flip(3), x)
