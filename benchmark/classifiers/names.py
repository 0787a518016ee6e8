"""The names of classifiers, listed without importing torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmark.registry import Registry

if TYPE_CHECKING:
    from benchmark.classifiers.source import ClassifierSource

CLASSIFIERS: Registry[ClassifierSource] = Registry(
    "classifier",
    base="benchmark.classifiers.source:ClassifierSource",
    group="purifybench.classifiers",
)

_DATASETS: dict[str, str] = {}


def _add(name: str, dataset: str, path: str, note: str) -> None:
    CLASSIFIERS.add(name, path, note)
    _DATASETS[name] = dataset


_SMALL = "benchmark.classifiers.small"
_add("digits-cnn", "digits", f"{_SMALL}:DigitsCNN", "4 convolutions, batch norm; the default")
_add("digits-conv", "digits", f"{_SMALL}:DigitsConv", "residual, group norm; a surrogate")
_add("digits-mlp", "digits", f"{_SMALL}:DigitsMLP", "a perceptron; a surrogate")
_add("mnist-cnn", "mnist", f"{_SMALL}:MnistCNN", "6 convolutions, batch norm; the default")
_add("mnist-conv", "mnist", f"{_SMALL}:MnistConv", "residual, group norm; a surrogate")
_add("mnist-mlp", "mnist", f"{_SMALL}:MnistMLP", "a perceptron; a surrogate")
_add("fashion-cnn", "fashion_mnist", f"{_SMALL}:FashionCNN", "6 convolutions; the default")
_add("fashion-conv", "fashion_mnist", f"{_SMALL}:FashionConv", "residual; a surrogate")
_add("fashion-mlp", "fashion_mnist", f"{_SMALL}:FashionMLP", "a perceptron; a surrogate")
_add(
    "standard-r18",
    "cifar10",
    "benchmark.classifiers.standard:StandardR18",
    "ResNet-18, naturally trained, installed with pyautoattack",
)
