"""ADD-Defense's networks: encoder, generator, two discriminators and the class head."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from defenses.add.presets import Preset

_SLOPE = 0.2
CHANNELS = 3
"""Of the images that the networks see: grey ones are repeated."""


class Encoder(nn.Module):
    """q(z|x): convolutions of stride 2 down to one pixel, the last one twice, for mean and log-variance.

    Table 4 of the paper gives the convolutions; leaky ReLUs of slope .2 on all but the last.

    Args:
        preset: Widths and kernels.
        has_norm: Whether batch norm follows every convolution but the last.
    """

    def __init__(self, preset: Preset, *, has_norm: bool) -> None:
        super().__init__()
        widths = (CHANNELS, *preset.widths)
        layers: list[nn.Module] = []
        for (before, after), kernel in zip(pairwise(widths[:-1]), preset.kernels[:-1], strict=True):
            layers += [
                nn.Conv2d(before, after, kernel, stride=2, padding=1, bias=not has_norm),
                *_activation(after, has_norm=has_norm),
            ]
        self.trunk = nn.Sequential(*layers)
        top = (widths[-2], widths[-1], preset.kernels[-1])
        self.mean = nn.Conv2d(*top, stride=2, padding=1)
        self.log_variance = nn.Conv2d(*top, stride=2, padding=1)
        self.apply(begin)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance `(b, latent)` of images `(b, 3, h, w)` in [-1, 1]."""
        h = self.trunk(image)
        return self.mean(h).flatten(1), self.log_variance(h).flatten(1)


class Generator(nn.Sequential):
    """Transposed convolutions of stride 2, the encoder's mirror image, with a tanh at the end.

    Args:
        preset: Widths and kernels of the encoder.
        has_norm: Whether batch norm follows every convolution but the last.
    """

    def __init__(self, preset: Preset, *, has_norm: bool) -> None:
        widths = (*reversed(preset.widths), CHANNELS)
        layers: list[nn.Module] = [nn.Unflatten(1, (preset.latent, 1, 1))]
        last = len(preset.kernels) - 1
        for i, ((before, after), kernel) in enumerate(
            zip(pairwise(widths), reversed(preset.kernels), strict=True)
        ):
            bias = i == last or not has_norm
            layers.append(nn.ConvTranspose2d(before, after, kernel, stride=2, padding=1, bias=bias))
            layers += _activation(after, has_norm=has_norm) if i < last else [nn.Tanh()]
        super().__init__(*layers)
        self.apply(begin)


class DomainDiscriminator(nn.Sequential):
    """D_P: from latents `(b, latent)` to a logit for every domain, the clean one first; no norm.

    Args:
        preset: Widths.
        domains: K + 1: clean, and the known attacks.
    """

    def __init__(self, preset: Preset, domains: int) -> None:
        super().__init__(*_perceptron((preset.latent, *preset.domain, domains)))
        self.apply(begin)


class ImageDiscriminator(nn.Sequential):
    """D_I: from images `(b, 3, h, w)` in [-1, 1] to a logit `(b, 1)`, high where they look real; no norm.

    Args:
        preset: Widths.
    """

    def __init__(self, preset: Preset) -> None:
        layers: list[nn.Module] = []
        side = preset.side
        for before, after in pairwise((CHANNELS, *preset.critic)):
            layers += [nn.Conv2d(before, after, 4, stride=2, padding=1), nn.LeakyReLU(_SLOPE)]
            side //= 2
        flat = preset.critic[-1] * side * side
        super().__init__(*layers, nn.Flatten(), *_perceptron((flat, preset.hidden, 1)))
        self.apply(begin)


class ClassHead(nn.Sequential):
    """C: from latents `(b, latent)` to logits of the classes; the paper does not say its layers.

    Args:
        preset: Widths.
        classes: Number of classes.
    """

    def __init__(self, preset: Preset, classes: int) -> None:
        super().__init__(*_perceptron((preset.latent, preset.hidden, classes)))
        self.apply(begin)


def begin(module: nn.Module) -> None:
    """Weights of N(0, .02), or of N(1, .02) in batch norms; biases of 0 (the successor's code)."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
        nn.init.normal_(module.weight, 0.0, 0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    if isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
        nn.init.zeros_(module.bias)


def to_network(x: Tensor) -> Tensor:
    """Images `(b, 1 or 3, h, w)` in [0, 1] as the networks see them: three channels, in [-1, 1]."""
    return (2 * x - 1).expand(-1, CHANNELS, -1, -1)


def from_network(image: Tensor, channels: int) -> Tensor:
    """Images in [0, 1] of so many channels out of the networks' `(b, 3, h, w)`; grey is the channels' mean."""
    x = (image + 1) / 2
    return x.mean(1, keepdim=True) if channels == 1 else x


def _activation(channels: int, *, has_norm: bool) -> list[nn.Module]:
    norm: list[nn.Module] = [nn.BatchNorm2d(channels)] if has_norm else []
    return [*norm, nn.LeakyReLU(_SLOPE)]


def _perceptron(widths: Sequence[int]) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), nn.LeakyReLU(_SLOPE)]
    return layers[:-1]
