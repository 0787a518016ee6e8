"""This project's small classifiers, whose weights ship with it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import nn

from benchmark.classifiers.networks import SmallCNN, SmallConv, SmallMLP, SmallVGG
from benchmark.classifiers.own import OwnSource

_DIGITS = (1, 8, 8)
_MNIST = (1, 28, 28)


class _Small(OwnSource):
    build: Callable[[], nn.Module]

    def network(self) -> nn.Module:
        """What `build` makes."""
        return self.build()


class DigitsCNN(_Small):
    """The default for `digits`: two blocks of two convolutions."""

    name, dataset, steps = "digits-cnn", "digits", 1200
    build = staticmethod(partial(SmallCNN, _DIGITS, 10, widths=(32, 64), hidden=128))


class DigitsConv(_Small):
    """The convolutional surrogate for `digits`: residual blocks at 4x4."""

    name, dataset, steps = "digits-conv", "digits", 1200
    build = staticmethod(partial(SmallConv, _DIGITS, 10, width=48, patch=2, depth=2))


class DigitsMLP(_Small):
    """The perceptron surrogate for `digits`: two hidden layers of 256."""

    name, dataset, steps = "digits-mlp", "digits", 1200
    build = staticmethod(partial(SmallMLP, _DIGITS, 10, hidden=(256, 256)))


class MnistCNN(_Small):
    """The default for `mnist`: three blocks of two convolutions."""

    name, dataset, steps = "mnist-cnn", "mnist", 1400
    build = staticmethod(partial(SmallCNN, _MNIST, 10, widths=(16, 32, 64), hidden=128))


class MnistConv(_Small):
    """The convolutional surrogate for `mnist`: residual blocks at 7x7."""

    name, dataset, steps = "mnist-conv", "mnist", 1400
    build = staticmethod(partial(SmallConv, _MNIST, 10, width=48, patch=4, depth=2))


class MnistMLP(_Small):
    """The perceptron surrogate for `mnist`: hidden layers of 384 and 256."""

    name, dataset, steps = "mnist-mlp", "mnist", 4680
    build = staticmethod(partial(SmallMLP, _MNIST, 10, hidden=(384, 256)))


class FashionCNN(_Small):
    """The default for `fashion_mnist`: three blocks of two convolutions."""

    name, dataset, steps = "fashion-cnn", "fashion_mnist", 940
    build = staticmethod(partial(SmallCNN, _MNIST, 10, widths=(16, 32, 64), hidden=128))


class FashionConv(_Small):
    """The convolutional surrogate for `fashion_mnist`: residual blocks at 7x7."""

    name, dataset, steps = "fashion-conv", "fashion_mnist", 2340
    build = staticmethod(partial(SmallConv, _MNIST, 10, width=48, patch=4, depth=3))


class FashionMLP(_Small):
    """The perceptron surrogate for `fashion_mnist`: hidden layers of 384 and 256."""

    name, dataset, steps, shift = "fashion-mlp", "fashion_mnist", 9360, 0
    build = staticmethod(partial(SmallMLP, _MNIST, 10, hidden=(384, 256)))


class DigitsVGG(_Small):
    """The surrogate for `digits` that no defense is trained on: 1 and 2 convolutions, 2 hidden layers."""

    name, dataset, steps, rate = "digits-vgg", "digits", 1200, 1e-3
    build = staticmethod(partial(SmallVGG, _DIGITS, 10, blocks=((32,), (64, 64)), hidden=128))


class MnistVGG(_Small):
    """The surrogate for `mnist` that no defense is trained on: 1, 1 and 2 convolutions, 2 hidden layers."""

    name, dataset, steps, rate = "mnist-vgg", "mnist", 1400, 1e-3
    build = staticmethod(partial(SmallVGG, _MNIST, 10, blocks=((16,), (32,), (64, 64)), hidden=128))


class FashionVGG(_Small):
    """The surrogate for `fashion_mnist` that no defense is trained on: as that for `mnist`."""

    name, dataset, steps, rate, shift = "fashion-vgg", "fashion_mnist", 2340, 1e-3, 0
    build = staticmethod(partial(SmallVGG, _MNIST, 10, blocks=((16,), (32,), (64, 64)), hidden=128))
