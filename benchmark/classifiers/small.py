"""This project's small classifiers, whose weights ship with it."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from benchmark.classifiers.base import ClassifierSource
from benchmark.classifiers.networks import SmallCNN, SmallConv, SmallMLP, SmallVGG
from benchmark.classifiers.training_recipe import AdversarialRecipe, ClassifierRecipe
from benchmark.errors import BenchError
from benchmark.files.manifest import plugin_weights
from benchmark.recipe import Recipe

_DIGITS = (1, 8, 8)
_MNIST = (1, 28, 28)


class _Small(ClassifierSource):
    """What the small classifiers share: ten classes, shipped weights, one recipe."""

    classes = 10
    steps: int
    shift = 1
    rate = 3e-3

    def weights(self, folder: Path) -> Path:
        """The shipped file, as the manifest lists it."""
        del folder
        shipped = plugin_weights(_Small, "classifier", label=self.name, dataset=self.dataset)
        if shipped is None:
            raise BenchError(
                f"classifier {self.name!r} lacks the weights that ship with it; install again, or train it "
                f"(bench train --classifier {self.name} --dataset {self.dataset} --out FILE.safetensors) "
                f"and name it as file:FILE.safetensors@{self.name}"
            )
        return shipped

    def recipe(self, *, is_adversarial: bool) -> Recipe:
        """Cross-entropy on shifted images, attacked ones where asked."""
        natural = ClassifierRecipe(
            classifier=self.name, steps=self.steps, shift=self.shift, rate=self.rate
        )
        return AdversarialRecipe(inner=natural) if is_adversarial else natural


class DigitsCNN(_Small):
    """The default for `digits`."""

    name, dataset, steps = "digits-cnn", "digits", 1200

    def network(self) -> nn.Module:
        """Two blocks of two convolutions."""
        return SmallCNN(_DIGITS, 10, widths=(32, 64), hidden=128)


class DigitsConv(_Small):
    """The convolutional surrogate for `digits`."""

    name, dataset, steps = "digits-conv", "digits", 1200

    def network(self) -> nn.Module:
        """Residual blocks at 4x4."""
        return SmallConv(_DIGITS, 10, width=48, patch=2, depth=2)


class DigitsMLP(_Small):
    """The perceptron surrogate for `digits`."""

    name, dataset, steps = "digits-mlp", "digits", 1200

    def network(self) -> nn.Module:
        """Two hidden layers of 256."""
        return SmallMLP(_DIGITS, 10, hidden=(256, 256))


class MnistCNN(_Small):
    """The default for `mnist`."""

    name, dataset, steps = "mnist-cnn", "mnist", 1400

    def network(self) -> nn.Module:
        """Three blocks of two convolutions."""
        return SmallCNN(_MNIST, 10, widths=(16, 32, 64), hidden=128)


class MnistConv(_Small):
    """The convolutional surrogate for `mnist`."""

    name, dataset, steps = "mnist-conv", "mnist", 1400

    def network(self) -> nn.Module:
        """Residual blocks at 7x7."""
        return SmallConv(_MNIST, 10, width=48, patch=4, depth=2)


class MnistMLP(_Small):
    """The perceptron surrogate for `mnist`."""

    name, dataset, steps = "mnist-mlp", "mnist", 4680

    def network(self) -> nn.Module:
        """Hidden layers of 384 and 256."""
        return SmallMLP(_MNIST, 10, hidden=(384, 256))


class FashionCNN(_Small):
    """The default for `fashion_mnist`."""

    name, dataset, steps = "fashion-cnn", "fashion_mnist", 940

    def network(self) -> nn.Module:
        """Three blocks of two convolutions."""
        return SmallCNN(_MNIST, 10, widths=(16, 32, 64), hidden=128)


class FashionConv(_Small):
    """The convolutional surrogate for `fashion_mnist`."""

    name, dataset, steps = "fashion-conv", "fashion_mnist", 2340

    def network(self) -> nn.Module:
        """Residual blocks at 7x7."""
        return SmallConv(_MNIST, 10, width=48, patch=4, depth=3)


class FashionMLP(_Small):
    """The perceptron surrogate for `fashion_mnist`."""

    name, dataset, steps, shift = "fashion-mlp", "fashion_mnist", 9360, 0

    def network(self) -> nn.Module:
        """Hidden layers of 384 and 256."""
        return SmallMLP(_MNIST, 10, hidden=(384, 256))


class DigitsVGG(_Small):
    """The surrogate for `digits` that no defense is trained on."""

    name, dataset, steps, rate = "digits-vgg", "digits", 1200, 1e-3

    def network(self) -> nn.Module:
        """One convolution, then two, then two hidden layers of 128."""
        return SmallVGG(_DIGITS, 10, blocks=((32,), (64, 64)), hidden=128)


class MnistVGG(_Small):
    """The surrogate for `mnist` that no defense is trained on."""

    name, dataset, steps, rate = "mnist-vgg", "mnist", 1400, 1e-3

    def network(self) -> nn.Module:
        """One convolution, one, then two, then two hidden layers of 128."""
        return SmallVGG(_MNIST, 10, blocks=((16,), (32,), (64, 64)), hidden=128)


class FashionVGG(_Small):
    """The surrogate for `fashion_mnist` that no defense is trained on."""

    name, dataset, steps, rate = "fashion-vgg", "fashion_mnist", 2340, 1e-3
    shift = 0

    def network(self) -> nn.Module:
        """One convolution, one, then two, then two hidden layers of 128."""
        return SmallVGG(_MNIST, 10, blocks=((16,), (32,), (64, 64)), hidden=128)
