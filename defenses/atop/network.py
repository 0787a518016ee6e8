"""AToP's networks: a two-stage generator of gated convolutions, and the discriminator that trains it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from defenses.atop.attention import ContextualAttention
from defenses.atop.presets import Preset


class GatedConv(nn.Module):
    """A convolution whose second half of channels gates the first: `act(a) * sigmoid(b)`.

    Yu et al., "Free-form image inpainting with gated convolution" (DeepFillv2), ICCV 2019, section 3.1. The
    padding keeps the size at stride 1 and halves an even one at stride 2.

    The first weights are Kaiming-uniform of gain 2, not a ReLU's square root of 2: a gate begins at one half,
    and so a small signal keeps its size from layer to layer.
    """

    def __init__(
        self,
        channels: int,
        out: int,
        kernel: int = 3,
        *,
        stride: int = 1,
        dilation: int = 1,
        is_relu: bool = False,
    ) -> None:
        super().__init__()
        self.conv = _conv(channels, 2 * out, kernel, stride=stride, dilation=dilation)
        with torch.no_grad():
            self.conv.weight.mul_(math.sqrt(2))
        self.is_relu = is_relu

    def forward(self, x: Tensor) -> Tensor:
        """Features `(b, out, h', w')`."""
        a, b = self.conv(x).chunk(2, dim=1)
        act = a.relu() if self.is_relu else elu(a)
        gated: Tensor = act * b.sigmoid()
        return gated


def elu(a: Tensor) -> Tensor:
    """ELU, `a` above 0 and `exp(a) - 1` below, in vectorised steps: half the time of torch's own on a CPU."""
    below = a.clamp_max(0.0)
    return (a - below) + (below.exp() - 1)  # its derivative at 0 is 1 whatever clamp's is there


class Generator(nn.Module):
    """Fills an image's holes, and mends the rest: a coarse stage, then a fine one.

    The layers are DeepFillv2's, scaled by the preset; the smaller presets have no contextual attention.

    Args:
        channels: c of the images.
        preset: Widths, downsamplings, dilations, branches, and the ground.
    """

    def __init__(self, channels: int, preset: Preset) -> None:
        super().__init__()
        top = preset.widths[-1]
        dilated = [GatedConv(top, top, dilation=rate) for rate in preset.dilations]
        self.coarse = nn.Sequential(
            *_encoder(channels + 2, preset.widths, early=preset.widths),
            GatedConv(top, top),
            *dilated,
            GatedConv(top, top),
            GatedConv(top, top),
            *_decoder(channels, preset),
        )
        self.branches = nn.ModuleList(
            nn.Sequential(*_fine_encoder(channels, preset, branch=i))
            for i in range(preset.branches)
        )
        self.fine = nn.Sequential(
            GatedConv(preset.branches * top, top),
            GatedConv(top, top),
            *_decoder(channels, preset),
        )

    def forward(self, image: Tensor, keep: Tensor) -> tuple[Tensor, Tensor]:
        """Both stages' outputs.

        Args:
            image: `(b, c, h, w)`, in [0, 1] but for noise; not yet masked.
            keep: `(b, 1, h, w)`, 1 where the image may be seen, 0 in holes.

        Returns:
            `x1` of the coarse stage and `x2` of the fine one, `(b, c, h, w)` in [0, 1].
        """
        seen = (2 * image - 1) * keep
        hole = 1 - keep
        x1 = self.coarse(torch.cat((seen, torch.ones_like(hole), hole), dim=1)).tanh()
        composed = x1 * hole + seen
        seen_by = [_through(branch, composed, keep) for branch in self.branches]
        x2 = self.fine(torch.cat(seen_by, dim=1)).tanh()
        return (x1 + 1) / 2, (x2 + 1) / 2


class Discriminator(nn.Module):
    """Scores of patches of (image, hole mask): spectrally normalised convolutions (SN-PatchGAN).

    Yu et al., ICCV 2019, section 3.2. Its power iteration moves in train mode only.

    Args:
        channels: c of the images.
        widths: Output channels of the layers, each of stride 2.
    """

    def __init__(self, channels: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *(
                nn.Sequential(
                    spectral_norm(nn.Conv2d(i, o, 5, stride=2, padding=2)), nn.LeakyReLU(0.2)
                )
                for i, o in pairwise((channels + 1, *widths))
            )
        )

    def forward(self, image: Tensor, hole: Tensor) -> Tensor:
        """Scores `(b, s)` of images `(b, c, h, w)` in [0, 1] with their holes `(b, 1, h, w)`."""
        scores: Tensor = self.layers(torch.cat((2 * image - 1, hole), dim=1))
        return scores.flatten(1)


def _through(branch: nn.Module, x: Tensor, keep: Tensor) -> Tensor:
    for layer in branch.children():
        x = layer(x, keep) if isinstance(layer, ContextualAttention) else layer(x)
    return x


def _conv(channels: int, out: int, kernel: int, *, stride: int = 1, dilation: int = 1) -> nn.Conv2d:
    padding = dilation * (kernel - 1) // 2
    conv = nn.Conv2d(channels, out, kernel, stride=stride, padding=padding, dilation=dilation)
    nn.init.kaiming_uniform_(conv.weight, nonlinearity="relu")
    return conv


def _encoder(channels: int, widths: Sequence[int], *, early: Sequence[int]) -> list[nn.Module]:
    """Two convolutions a level, of which the first halves the size; to a width in `early` it widens, too."""
    layers: list[nn.Module] = [GatedConv(channels, widths[0], 5)]
    for before, after in pairwise(widths):
        middle = after if after in early else before
        layers += [GatedConv(before, middle, stride=2), GatedConv(middle, after)]
    return layers


def _fine_encoder(channels: int, preset: Preset, *, branch: int) -> list[nn.Module]:
    """Branch 0 sees far by dilation; branch 1 by contextual attention, where the preset has it."""
    top = preset.widths[-1]
    layers = _encoder(channels, preset.widths, early=(top,) if branch else ())
    if branch:
        attention = [ContextualAttention()] if preset.attends else []
        last = [GatedConv(top, top), GatedConv(top, top)]
        return [*layers, GatedConv(top, top, is_relu=True), *attention, *last]
    dilated = [GatedConv(top, top, dilation=rate) for rate in preset.dilations]
    return [*layers, GatedConv(top, top), *dilated]


def _decoder(channels: int, preset: Preset) -> list[nn.Module]:
    """Nearest upsampling and two convolutions a level, the very last one narrower; then a plain one."""
    widths = preset.widths
    layers: list[nn.Module] = []
    inward = widths[-1]
    for level in reversed(range(len(widths) - 1)):
        last = widths[0] // 2 if level == 0 else widths[level]
        layers += [
            nn.Upsample(scale_factor=2, mode="nearest"),
            GatedConv(inward, widths[level]),
            GatedConv(widths[level], last),
        ]
        inward = last
    out = _conv(inward, channels, 3)
    if preset.ground is not None and out.bias is not None:
        nn.init.constant_(out.bias, preset.ground)
    return [*layers, out]
