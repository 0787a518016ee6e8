"""HGD's denoisers: an auto-encoder that predicts an image's negative noise, with or without laterals."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional


class Denoiser(nn.Module):
    """U, the negative noise of an image: the denoising U-net (DUNET), or the plain auto-encoder (DAE).

    Liao et al., CVPR 2018, figure 3. A layer is a 3x3 convolution without bias, batch norm and a ReLU; a block
    is two layers at full resolution and three at each lower one, of which the first of an encoder's has stride
    2. A decoder's block is given what the block below put out, upsampled bilinearly, and beside it what the
    encoder had at that resolution (the lateral connection, which a DAE lacks). A 1x1 convolution without bias
    ends it. Any height and width are taken: at stride 2 a size is halved and rounded up.

    Args:
        channels: c of the images.
        widths: Channels at each resolution, the full one first.
        has_laterals: Whether it is a DUNET.
    """

    def __init__(self, channels: int, widths: Sequence[int], *, has_laterals: bool = True) -> None:
        super().__init__()
        self.has_laterals = has_laterals
        self.encoder = nn.ModuleList()
        self.decoder = nn.ModuleList()
        inward = channels
        for level, width in enumerate(widths):
            self.encoder.append(_block(inward, width, is_full=level == 0, is_smaller=level > 0))
            inward = width
        for level, width in reversed(list(enumerate(widths[:-1]))):
            lateral = width if has_laterals else 0
            self.decoder.append(_block(inward + lateral, width, is_full=level == 0))
            inward = width
        self.last = nn.Conv2d(inward, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """The negative noise `(b, c, h, w)` of images `(b, c, h, w)` scaled to [-1, 1]."""
        taps: list[Tensor] = []
        for block in self.encoder:
            x = block(x)  # (b, width, h / 2^level, w / 2^level)
            taps.append(x)
        for block, lateral in zip(self.decoder, reversed(taps[:-1]), strict=True):
            x = functional.interpolate(
                x, size=lateral.shape[2:], mode="bilinear", align_corners=False
            )
            x = block(torch.cat((x, lateral), dim=1) if self.has_laterals else x)
        noise: Tensor = self.last(x)
        return noise


def noise_of(denoiser: nn.Module, x: Tensor) -> Tensor:
    """U of images `(b, c, h, w)` in [0, 1], in the units in which it works, where pixels live in [-1, 1]."""
    noise: Tensor = denoiser(2 * x - 1)
    return noise


def denoised(x: Tensor, noise: Tensor) -> Tensor:
    """`x + U(x)`, not clamped.

    Args:
        x: Images `(b, c, h, w)` in [0, 1].
        noise: Their negative noise, as `noise_of` gives it.
    """
    return x + noise / 2


def _block(channels: int, width: int, *, is_full: bool, is_smaller: bool = False) -> nn.Sequential:
    """Two layers at full resolution, else three; the first has stride 2 where the map gets smaller."""
    layers: list[nn.Module] = []
    for i in range(2 if is_full else 3):
        stride = 2 if is_smaller and i == 0 else 1
        layers += [
            nn.Conv2d(channels, width, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
        ]
        channels = width
    return nn.Sequential(*layers)
