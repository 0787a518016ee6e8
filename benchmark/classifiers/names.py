"""The names of classifiers, listed without importing torch."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from benchmark.classifiers.zoo_names import (
    CLASSES,
    ZooModel,
    has_model,
    is_norm,
    resolve,
    zoo_models,
)
from benchmark.errors import BenchError
from benchmark.registry import Registry

if TYPE_CHECKING:
    from benchmark.classifiers.source import ClassifierSource

CLASSIFIERS: Registry[ClassifierSource] = Registry(
    "classifier",
    base="benchmark.classifiers.source:ClassifierSource",
    group="purifybench.classifiers",
    files=dict.fromkeys((".bin", ".ckpt", ".pt", ".pth", ".safetensors"), "file:{}@ARCHITECTURE"),
)

_DATASETS: dict[str, str] = {}
_THREATS = {  # RobustBench's own budgets
    ("cifar10", "Linf"): "linf:8/255",
    ("cifar10", "L2"): "l2:0.5",
    ("cifar100", "Linf"): "linf:8/255",
    ("imagenet", "Linf"): "linf:4/255",
}


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
_add("digits-vgg", "digits", f"{_SMALL}:DigitsVGG", "VGG, plain; a surrogate unseen in training")
_add("mnist-vgg", "mnist", f"{_SMALL}:MnistVGG", "VGG, plain; a surrogate unseen in training")
_PUBLISHED = "benchmark.classifiers.published"
_add("mnist-x", "mnist", f"{_PUBLISHED}:MnistX", "AdvAE's network X: 4 convolutions")
_add("mnist-a", "mnist", f"{_PUBLISHED}:MnistA", "Defense-GAN's network A: 2 convolutions")
_add("mnist-b", "mnist", f"{_PUBLISHED}:MnistB", "Defense-GAN's network B: 3 convolutions")
_add("mnist-c", "mnist", f"{_PUBLISHED}:MnistC", "Defense-GAN's network C; to be trained first")
_add("mnist-d", "mnist", f"{_PUBLISHED}:MnistD", "Defense-GAN's network D: a perceptron")
_add("fashion-cnn", "fashion_mnist", f"{_SMALL}:FashionCNN", "6 convolutions; the default")
_add("fashion-conv", "fashion_mnist", f"{_SMALL}:FashionConv", "residual; a surrogate")
_add("fashion-mlp", "fashion_mnist", f"{_SMALL}:FashionMLP", "a perceptron; a surrogate")
_add("fashion-vgg", "fashion_mnist", f"{_SMALL}:FashionVGG", "VGG, plain; unseen in training")
_add(
    "standard-r18",
    "cifar10",
    "benchmark.classifiers.standard:StandardR18",
    "ResNet-18, naturally trained, installed with pyautoattack",
)
_add(
    "cifar-resnetv2-29",
    "cifar10",
    f"{_PUBLISHED}:CifarResNetV2",
    "ResNetV2 of depth 29, AdvAE's; to be trained first",
)


def classifier_names(dataset: str) -> list[str]:
    """All names that fit a dataset, the default first, then the RobustBench zoo; imports no torch.

    What an installed package adds is listed for a dataset where its name begins with the dataset's
    (`mnist-theirs`); any of its names can be loaded.
    """
    others = [name for name in CLASSIFIERS.names() if name not in _DATASETS]
    own = [name for name, of in _DATASETS.items() if of == dataset]
    added = [name for name in others if name.startswith(f"{dataset}-")]
    return [*own, *added, *(model.name for model in zoo_models(dataset))]


def classifier_note(name: str, dataset: str = "") -> str:
    """One line about a classifier, for a listing; the dataset says which model of the zoo is meant."""
    if name in _DATASETS:
        return CLASSIFIERS.note(name)
    found = _zoo_model(name, dataset)
    if found is None:
        return ""
    return found.note(_THREATS.get((dataset, found.norm), ""))


def unknown_classifier(name: str, dataset: str) -> BenchError:
    """The error for a name that no classifier of a dataset has, with what is near."""
    names = {known.lower(): known for known in classifier_names(dataset)}
    near = [names[n] for n in difflib.get_close_matches(name.lower(), names, n=3, cutoff=0.6)]
    hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
    return BenchError(
        f"no classifier for {dataset} is called {name!r}.{hint} "
        f"bench list models --dataset {dataset} names them all"
    )


def home_of(name: str) -> str | None:
    """The dataset that a classifier's name belongs to; None where the name alone does not say.

    Raises:
        BenchError: Several RobustBench models begin with that name.
    """
    if name in _DATASETS:
        return _DATASETS[name]
    if ":" in name:
        return None
    exact = [dataset for dataset in CLASSES if has_model(name, dataset)]
    return next((dataset for dataset in exact or CLASSES if resolve(name, dataset)), None)


def threat_of(name: str, dataset: str) -> str:
    """The threat that a RobustBench model was made for, such as `l2:0.5`; empty where the name does not say."""
    found = _zoo_model(name, dataset)
    return _THREATS.get((dataset, found.norm), "") if found else ""


def preparation_of(name: str, dataset: str) -> str:
    """How images are prepared for a RobustBench model, as `Dataset.prepared_for` takes it.

    `file:PATH@ARCHITECTURE` is prepared for as its architecture is. Empty where the name does not say.

    Raises:
        BenchError: Several RobustBench models begin with that name.
    """
    architecture = file_parts(name)[1] if name.startswith("file:") else name
    found = _zoo_model(architecture, dataset)
    return found.preparation if found else ""


def file_parts(text: str) -> tuple[str, str]:
    """Path and architecture out of `file:PATH@ARCHITECTURE`; both empty where that is not its form.

    The architecture may be a RobustBench name with its norm: `file:PATH@Standard@L2`.
    """
    path, _, architecture = text.removeprefix("file:").rpartition("@")
    before, _, model = path.rpartition("@")
    if before and is_norm(architecture):
        path, architecture = before, f"{model}@{architecture}"
    return (path, architecture) if path and architecture else ("", "")


def _zoo_model(name: str, dataset: str) -> ZooModel | None:
    return resolve(name, dataset) if name not in _DATASETS and ":" not in name else None
