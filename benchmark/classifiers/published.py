"""The classifiers of AdvAE's Table 2: its own network X, Defense-GAN's A to D, and a ResNetV2 for CIFAR-10."""

from __future__ import annotations

from torch import Tensor, nn

from benchmark.classifiers.own import OwnSource
from benchmark.classifiers.resnet_v2 import ResNetV2


class Layers(nn.Module):
    """Layers in a row, from images `(b, c, h, w)` in [0, 1], taken as they are, to logits `(b, k)`."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Logits `(b, k)`."""
        logits: Tensor = self.layers(x)
        return logits


class _Published(OwnSource):
    """For MNIST, with a recipe by Adam at 1e-3 on batches of 128, without augmentation, as AdvAE trains them.

    The learning rate follows one cycle over a fixed number of steps, where AdvAE's falls on plateaus.
    """

    dataset, out = "mnist", ""
    rate, weight_decay, shift = 1e-3, 0.0, 0


class MnistX(_Published):
    """AdvAE's own network (Carlini and Wagner's for MNIST, S&P 2017, Table I)."""

    name, steps = "mnist-x", 2808

    def network(self) -> nn.Module:
        """Four 3x3 convolutions without padding, then 200, dropout .5, 200."""
        return Layers(
            *_conv(1, 32, 3),
            *_conv(32, 32, 3),
            nn.MaxPool2d(2),
            *_conv(32, 64, 3),
            *_conv(64, 64, 3),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(64 * 4 * 4, 200),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Linear(200, 200),
            nn.ReLU(),
            nn.Linear(200, 10),
        )


class MnistA(_Published):
    """Defense-GAN's network A (Samangouei, Kabkab and Chellappa, ICLR 2018, appendix).

    The table names no padding. Released code pads the first convolution and not the second; here neither is
    padded, which leaves 0.92 million weights instead of 1.29, so that they can ship.
    """

    name, steps = "mnist-a", 1404

    def network(self) -> nn.Module:
        """Two 5x5 convolutions, the second of stride 2, then 128."""
        return Layers(*_conv(1, 64, 5), *_conv(64, 64, 5, stride=2), *_head(64 * 10 * 10))


class MnistB(_Published):
    """Defense-GAN's network B (Samangouei et al., ICLR 2018, appendix); the first convolution is padded."""

    name, steps = "mnist-b", 2340

    def network(self) -> nn.Module:
        """Dropout on the image, then 8x8, 6x6 and 5x5 convolutions down to one pixel."""
        return Layers(
            nn.Dropout(0.2),
            *_conv(1, 64, 8, stride=2, padding=3),
            *_conv(64, 128, 6, stride=2),
            *_conv(128, 128, 5),
            nn.Dropout(0.5),
            nn.Flatten(),
            nn.Linear(128, 10),
        )


class MnistC(_Published):
    """Defense-GAN's network C (Samangouei et al., ICLR 2018, appendix); too large to ship.

    The first convolution is padded, as in released code.
    """

    name, steps = "mnist-c", 1872
    ships = False

    def network(self) -> nn.Module:
        """A 3x3 convolution and a 5x5 one of stride 2, then 128."""
        return Layers(
            *_conv(1, 128, 3, padding=1), *_conv(128, 64, 5, stride=2), *_head(64 * 12 * 12)
        )


class MnistD(_Published):
    """Defense-GAN's network D, a perceptron (Samangouei et al., ICLR 2018, appendix)."""

    name, steps = "mnist-d", 9360

    def network(self) -> nn.Module:
        """Two hidden layers of 200 with dropout .5."""
        return Layers(
            nn.Flatten(),
            nn.Linear(28 * 28, 200),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Linear(200, 200),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Linear(200, 10),
        )


class CifarResNetV2(_Published):
    """The ResNetV2 of depth 29 that AdvAE defends on CIFAR-10 (He et al., ECCV 2016); too large to ship.

    It is trained for 100 epochs, on images shifted by up to a tenth and mirrored by chance.
    """

    name, dataset, steps = "cifar-resnetv2-29", "cifar10", 39_000
    weight_decay, shift, is_mirrored = 1e-4, 3, True
    ships = False

    def network(self) -> nn.Module:
        """Three stages of three bottleneck blocks: depth 9 n + 2 with n = 3."""
        return ResNetV2(blocks=3, classes=10)


def _conv(
    channels: int, out: int, kernel: int, *, stride: int = 1, padding: int = 0
) -> tuple[nn.Module, nn.Module]:
    return nn.Conv2d(channels, out, kernel, stride=stride, padding=padding), nn.ReLU()


def _head(features: int) -> tuple[nn.Module, ...]:
    """Dropout .25, 128, dropout .5, ten logits: the end of A and of C."""
    return (
        nn.Flatten(),
        nn.Dropout(0.25),
        nn.Linear(features, 128),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(128, 10),
    )
