"""AdvAE's networks: the auto-encoder for MNIST and the U-Net for CIFAR-10, up to the logits of pixels."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from defenses.advae.presets import Preset, Residual

_LEAST = 0.01
"""How far pixels are kept from 0 and 1 before their logit is taken."""


class Purifier(nn.Module):
    """Images to the logits of purified pixels, whose sigmoid is the purified image.

    Args:
        channels: c of the images.
        preset: Which network, and how wide.
        residual: What the network's output r is added to: nothing (`none`), the pixel itself (`raw`, as the
            released code does, although a pixel is no logit), or `logit(clip(x, .01, .99))` (`logit`).
    """

    def __init__(self, channels: int, preset: Preset, residual: Residual) -> None:
        super().__init__()
        self.residual = residual
        kind = UNet if preset.is_unet else AutoEncoder
        self.network = kind(channels, preset.widths)

    def forward(self, x: Tensor) -> Tensor:
        """Logits `(b, c, h, w)` for images `(b, c, h, w)` in [0, 1]."""
        r: Tensor = self.network(x)
        if self.residual == "raw":
            return x + r
        if self.residual == "logit":
            return torch.logit(x.clamp(_LEAST, 1 - _LEAST)) + r
        return r


class AutoEncoder(nn.Module):
    """Convolutions that halve the image twice, and others that double it again; the middle is its code.

    A stage of the encoder is a 3x3 convolution, batch norm, ReLU and 2x2 max pooling; one of the decoder a 3x3
    convolution, ReLU and nearest upsampling, without norm. Batch norm has Keras's epsilon.

    Args:
        channels: c of the images.
        widths: Output channels of the encoder's stages; the decoder has them backwards.
    """

    def __init__(self, channels: int, widths: Sequence[int]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in pairwise((channels, *widths)):
            layers += [_conv(before, after), nn.BatchNorm2d(after, eps=1e-3), nn.ReLU()]
            layers += [nn.MaxPool2d(2)]
        for before, after in pairwise((widths[-1], *reversed(widths))):
            layers += [_conv(before, after), nn.ReLU(), nn.Upsample(scale_factor=2)]
        self.layers = nn.Sequential(*layers, _conv(widths[0], channels))

    def forward(self, x: Tensor) -> Tensor:
        """`(b, c, h, w)`; height and width a multiple of 2 to the number of stages."""
        out: Tensor = self.layers(x)
        return out


class UNet(nn.Module):
    """Pairs of 3x3 convolutions at each resolution, joined by skip connections (Ronneberger et al. 2015).

    There is no norm; resolutions are halved by max pooling and doubled by 2x2 transposed convolutions.

    Args:
        channels: c of the images.
        widths: Channels at each resolution, the full one first.
    """

    def __init__(self, channels: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.down = nn.ModuleList(_pair(i, o) for i, o in pairwise((channels, *widths)))
        levels = list(pairwise(reversed(widths)))  # from below: (512, 256), (256, 128), ...
        self.grow = nn.ModuleList(nn.ConvTranspose2d(i, o, 2, stride=2) for i, o in levels)
        self.up = nn.ModuleList(_pair(2 * o, o) for _, o in levels)
        self.last = _conv(widths[0], channels)

    def forward(self, x: Tensor) -> Tensor:
        """`(b, c, h, w)`; height and width a multiple of 2 to the number of widths less one."""
        skips: list[Tensor] = []
        for level, pair in enumerate(self.down):
            x = pair(functional.max_pool2d(x, 2) if level else x)
            skips.append(x)
        for grow, pair, skip in zip(self.grow, self.up, reversed(skips[:-1]), strict=True):
            x = pair(torch.cat((grow(x), skip), dim=1))
        out: Tensor = self.last(x)
        return out


def _conv(channels: int, out: int) -> nn.Conv2d:
    """A 3x3 convolution that keeps the size, with Keras's first weights (Glorot's uniform ones)."""
    conv = nn.Conv2d(channels, out, 3, padding=1)
    nn.init.xavier_uniform_(conv.weight)
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
    return conv


def _pair(channels: int, out: int) -> nn.Sequential:
    return nn.Sequential(_conv(channels, out), nn.ReLU(), _conv(out, out), nn.ReLU())
