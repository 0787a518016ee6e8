"""The names of classifiers, listed without importing torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.classifiers.zoo_names import (
    ALIASES,
    CLASSES,
    ZooModel,
    has_model,
    is_norm,
    resolve,
    zoo_models,
)
from benchmark.compute.imports import refuse_absent
from benchmark.errors import BenchError, did_you_mean, near, quoted
from benchmark.files.paths import existing, is_remote
from benchmark.registry import Registry

if TYPE_CHECKING:
    from benchmark.classifiers.base import ClassifierSource

CLASSIFIERS: Registry[ClassifierSource] = Registry(
    "classifier",
    base="benchmark.classifiers.base:ClassifierSource",
    group="purifybench.classifiers",
    files=dict.fromkeys((".bin", ".ckpt", ".pt", ".pth", ".safetensors"), "file:{}@ARCHITECTURE"),
)

FILE_FORM = (
    "file:PATH@ARCHITECTURE (or a URL, or hf:org/name, in the place of PATH; PATH#KEY for one state of "
    "several), where the architecture is a classifier's name (digits-cnn, standard-r18, a RobustBench model) "
    "or module:callable"
)

_DATASETS: dict[str, str] = {}
_THREATS = {  # RobustBench's own budgets
    ("cifar10", "Linf"): "linf:8/255",
    ("cifar10", "L2"): "l2:0.5",
    ("cifar100", "Linf"): "linf:8/255",
    ("imagenet", "Linf"): "linf:4/255",
}


for _name, _dataset, _path, _note in (
    ("digits-cnn", "digits", "small:DigitsCNN", "4 convolutions, batch norm; the default"),
    ("digits-conv", "digits", "small:DigitsConv", "residual, group norm; a surrogate"),
    ("digits-mlp", "digits", "small:DigitsMLP", "a perceptron; a surrogate"),
    ("mnist-cnn", "mnist", "small:MnistCNN", "6 convolutions, batch norm; the default"),
    ("mnist-conv", "mnist", "small:MnistConv", "residual, group norm; a surrogate"),
    ("mnist-mlp", "mnist", "small:MnistMLP", "a perceptron; a surrogate"),
    ("digits-vgg", "digits", "small:DigitsVGG", "VGG, plain; a surrogate unseen in training"),
    ("mnist-vgg", "mnist", "small:MnistVGG", "VGG, plain; a surrogate unseen in training"),
    ("mnist-x", "mnist", "published:MnistX", "AdvAE's network X: 4 convolutions"),
    ("mnist-a", "mnist", "published:MnistA", "Defense-GAN's network A: 2 convolutions"),
    ("mnist-b", "mnist", "published:MnistB", "Defense-GAN's network B: 3 convolutions"),
    ("mnist-c", "mnist", "published:MnistC", "Defense-GAN's network C; to be trained first"),
    ("mnist-d", "mnist", "published:MnistD", "Defense-GAN's network D: a perceptron"),
    ("fashion-cnn", "fashion_mnist", "small:FashionCNN", "6 convolutions; the default"),
    ("fashion-conv", "fashion_mnist", "small:FashionConv", "residual; a surrogate"),
    ("fashion-mlp", "fashion_mnist", "small:FashionMLP", "a perceptron; a surrogate"),
    ("fashion-vgg", "fashion_mnist", "small:FashionVGG", "VGG, plain; unseen in training"),
    (
        "standard-r18",
        "cifar10",
        "standard:StandardR18",
        "ResNet-18, naturally trained, installed with pyautoattack",
    ),
    (
        "cifar-resnetv2-29",
        "cifar10",
        "published:CifarResNetV2",
        "ResNetV2 of depth 29, AdvAE's; to be trained first",
    ),
):
    CLASSIFIERS.add(_name, f"benchmark.classifiers.{_path}", _note)
    _DATASETS[_name] = _dataset


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


def unknown_classifier(name: str, dataset: str | None) -> BenchError:
    """The error for a name that no classifier of a dataset has, of any where it is None, with what is near."""
    whose = "no classifier" if dataset is None else f"no classifier for {dataset}"
    meant = CLASSIFIERS.meant(name)
    if meant:
        return BenchError(f"{whose} is called {quoted(name)}{meant}")
    here = near(name, _known_names(dataset)) if dataset else []
    others = [one for one in dict.fromkeys((*_DATASETS.values(), *CLASSES)) if one != dataset]
    homes = {known: of for of in others for known in (() if here else _known_names(of))}
    there = near(name, homes)
    hint = did_you_mean(here or there)
    if there:
        hint = f"{hint[:-1]} (for {', '.join(dict.fromkeys(homes[one] for one in there))})?"
    which = f" --dataset {dataset}" if dataset else ""
    return BenchError(
        f"{whose} is called {quoted(name)}.{hint} bench list models{which} names them all"
    )


def refuse_unknown_classifier(name: str, dataset: str | None) -> None:
    """Refuses a name that no classifier has; imports nothing of a plugin, and loads no file.

    Args:
        name: As `--model` takes one.
        dataset: The dataset's name; None where that is not known.

    Raises:
        BenchError: It is nobody's, or that of another dataset's classifier; a file or its architecture is not
            there.
    """
    if name.startswith("file:"):
        _refuse_unknown_file(name, dataset)
    elif ":" in name:
        CLASSIFIERS.path_of(name)
    elif name in _DATASETS:
        if dataset not in (None, _DATASETS[name]):
            raise for_another(name, _DATASETS[name], str(dataset))
    elif name not in CLASSIFIERS.paths() and not _is_in_zoo(name, dataset):
        raise unknown_classifier(name, dataset)


def for_another(name: str, own: str, dataset: str) -> BenchError:
    """The error for a classifier of one dataset on another."""
    return BenchError(
        f"classifier {name!r} is for {own}, not for {dataset}; "
        f"bench list models --dataset {dataset} names those that fit"
    )


def _refuse_unknown_file(text: str, dataset: str | None) -> None:
    path, _, architecture = file_parts(text)
    if not path:
        raise BenchError(f"classifier {quoted(text)} is not understood: expected {FILE_FORM}")
    if not is_remote(path):
        existing(path)
    if ":" in architecture:
        refuse_absent(architecture, what="architecture")
    elif architecture not in CLASSIFIERS.paths() and not _is_in_zoo(architecture, dataset):
        raise unknown_classifier(architecture, dataset)


def _is_in_zoo(name: str, dataset: str | None) -> bool:
    datasets = CLASSES if dataset is None else (dataset,)
    return any(resolve(name, one) is not None for one in datasets)


def _known_names(dataset: str) -> list[str]:
    """All names of a dataset's classifiers, the zoo's short ones too."""
    short = [alias for of, alias in ALIASES if of == dataset]
    return [*classifier_names(dataset), *short]


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
    architecture = file_parts(name)[2] if name.startswith("file:") else name
    found = _zoo_model(architecture, dataset)
    return found.preparation if found else ""


def file_parts(text: str) -> tuple[str, str, str]:
    """Path, key and architecture out of `file:PATH#KEY@ARCHITECTURE`; all empty where that is not its form.

    The key is empty where none is given: `#sha256=...` at the end of a URL is none, nor is a `#` in an existing
    file's own name. The architecture may be a RobustBench name with its norm: `file:PATH@Standard@L2`.
    """
    path, _, architecture = text.removeprefix("file:").rpartition("@")
    before, _, model = path.rpartition("@")
    if before and is_norm(architecture):
        path, architecture = before, f"{model}@{architecture}"
    if not (path and architecture):
        return "", "", ""
    before, _, key = path.rpartition("#")
    is_pin = key.startswith("sha256=")
    if not before or is_pin or (not is_remote(path) and Path(path).expanduser().is_file()):
        return path, "", architecture
    return before, key, architecture


def modules_of(name: str) -> list[str]:
    """The module that a plugin's classifier, or the architecture of a file, comes from; none for the zoo's."""
    architecture = file_parts(name)[2] if name.startswith("file:") else name
    path = CLASSIFIERS.paths().get(architecture, architecture)
    return [path.partition(":")[0]] if ":" in path else []


def _zoo_model(name: str, dataset: str) -> ZooModel | None:
    return resolve(name, dataset) if name not in _DATASETS and ":" not in name else None
