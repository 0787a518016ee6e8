"""From what a user names to what is used: the data folder, a dataset, a classifier."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import nn

from benchmark.classifiers.base import ClassifierSource
from benchmark.classifiers.catalog import (
    CLASSIFIERS,
    for_another,
    home_of,
    modules_of,
    preparation_of,
    threat_of,
    unknown_classifier,
)
from benchmark.classifiers.ensemble import build_model
from benchmark.classifiers.file import file_name_of, load_file
from benchmark.classifiers.zoo import load_zoo
from benchmark.classifiers.zoo_names import ZooModel, resolve
from benchmark.compute.sandbox import sandboxed
from benchmark.datasets.class_folders import ClassFolders
from benchmark.datasets.npz import NpzDataset
from benchmark.engine.dataset import Dataset, refuse_undeclared
from benchmark.engine.threat import Threat
from benchmark.engine.victims.acceptance import refuse_misfit
from benchmark.engine.victims.classifier import Classifier
from benchmark.errors import BenchError
from benchmark.expression import Model, Models, names_in, parse_model
from benchmark.files.known_hashes import file_sha256
from benchmark.files.user_folders import data_folder as data_folder
from benchmark.identity.closure import is_harness
from benchmark.identity.content_names import known_by, without_content
from benchmark.identity.identity import Known, identity_of
from benchmark.identity.opened_files import watched
from benchmark.plugins import DATASETS, DEFAULT_DATASET
from benchmark.registry import path_of


def load_dataset(text: str, *, folder: Path) -> Dataset:
    """A dataset by name, by `npz:FILE`, by `folder:PATH`, or by `module:Class`.

    Raises:
        BenchError: Nothing has that name, it does not say what it is, or the file is not of the form that
            `npz:` wants.
    """
    if text.startswith("npz:"):
        file = Path(text.removeprefix("npz:")).expanduser()
        return called_by_content(NpzDataset(folder=folder, file=file))
    if text.startswith("folder:"):
        return called_by_content(ClassFolders(folder=folder, place=text.removeprefix("folder:")))
    kind = DATASETS.get(text)
    with sandboxed(f"dataset {text!r}: making it"):
        dataset = kind(folder=folder)
    refuse_undeclared(dataset)
    return called_by_content(dataset)


def called_by_content(dataset: Dataset) -> Dataset:
    """The dataset; where nobody has registered one of its class and name, a hash of its content in its name.

    Raises:
        BenchError: Its labels or images cannot be had.
    """
    if DATASETS.paths().get(dataset.name) == path_of(type(dataset)):
        return dataset
    with sandboxed(f"dataset {dataset.name!r}: reading its images"):
        dataset.content = dataset.content or dataset.content_sha256()
    name = known_by(dataset.name, dataset.content)
    found = dataset if name == dataset.name else copy.copy(dataset)
    found.name = name
    return found


def load_classifier(
    name: str,
    *,
    dataset: Dataset,
    folder: Path,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Classifier:
    """A frozen classifier for a dataset.

    Args:
        name: One of this project's or of an installed package, `module:Class` of a source, a RobustBench name
            (exact, `Gowal2021`, or a unique beginning; `NAME@L2` for another norm than Linf),
            `file:PATH@ARCHITECTURE`, or an ensemble of these, such as `mean(digits-cnn, digits-conv)`.
        dataset: The task.
        folder: The data folder; downloaded weights are kept in its `models`.
        device: Where it is put.
        dtype: Of its weights.

    Raises:
        BenchError: Nothing has that name, it is for another dataset, or its weights are missing or damaged.
    """
    model = parse_model(name)
    if isinstance(model, Models):
        load = partial(load_classifier, dataset=dataset, folder=folder, device=device, dtype=dtype)
        return build_model(model, load)
    source = None
    with watched(f"classifier {name}") as opened:
        if name.startswith("file:"):
            classifier = load_file(name, dataset=dataset, device=device, dtype=dtype)
        elif (found := _zoo_model(name, dataset.name)) is not None:
            classifier = load_zoo(found, folder=folder, device=device, dtype=dtype)
        else:
            source = make_source(name)
            if source.dataset not in (dataset.name, without_content(dataset.name)):
                raise for_another(name, source.dataset, dataset.name)
            with sandboxed(f"classifier {name!r}: loading it"):
                classifier = source.load(folder=folder, device=device, dtype=dtype)
                classifier.name = _source_name(source, folder)
            refuse_misfit(classifier, dataset)
    modules = [type(source).__module__] if source else modules_of(name)
    is_own = all(map(is_harness, modules))
    known = Known(modules=modules, files=() if is_own else opened.hashes())
    identity = identity_of(classifier.network, what=name, known=known)
    classifier.source, classifier.harness = identity.own(), identity.harness
    return classifier


def published_name(model: Model, dataset: str, *, folder: Path | None = None) -> str:
    """What an entry calls a classifier: short names resolved, files by their own; no network is made.

    A name that is none of those known, but has an `@`, is taken as it is: entries call a file's so.

    Raises:
        BenchError: It is nobody's name, or the file that it is known by cannot be had.
    """
    if isinstance(model, Models):
        names = (published_name(member, dataset, folder=folder) for member in model.members)
        return str(Models(tuple(names)))
    if model.startswith("file:"):
        return file_name_of(model)
    if ":" in model or model in CLASSIFIERS.paths():
        return _source_name(make_source(model), folder or data_folder(None))
    found = resolve(model, dataset)
    if found is None and "@" not in model:
        raise unknown_classifier(model, dataset)
    return found.name if found else model


def _zoo_model(name: str, dataset: str) -> ZooModel | None:
    """The RobustBench model that a name stands for; None for a plugin's or a file's.

    Raises:
        BenchError: It is nobody's name.
    """
    if ":" in name or name in CLASSIFIERS.paths():
        return None
    found = resolve(name, dataset)
    if found is None:
        raise unknown_classifier(name, dataset)
    return found


def _source_name(source: ClassifierSource, folder: Path) -> str:
    """Its own name where that is registered; else its weights' hash stands behind it."""
    if CLASSIFIERS.paths().get(source.name) == path_of(type(source)):
        return source.name
    with sandboxed(f"classifier {source.name!r}: finding its weights"):
        return known_by(source.name, file_sha256(Path(source.weights(folder))))


def make_source(name: str) -> ClassifierSource:
    """A classifier that a plugin brings, by name or `module:Class`; nothing of it is loaded yet.

    Raises:
        BenchError: Nothing has that name, or it cannot be made.
    """
    kind = CLASSIFIERS.get(name)
    with sandboxed(f"classifier {name!r}: making it"):
        return kind()


def load_task(
    dataset: str | Dataset | None,
    model: object,
    threat: str | Threat | None,
    *,
    folder: Path,
) -> tuple[Dataset, Threat]:
    """The dataset and the threat of a request; what is None follows from the model, else from the dataset.

    Args:
        dataset: A name, an object, or None for the model's, else `digits`.
        model: Its name, or an ensemble's; anything else says nothing.
        threat: Its text, itself, or None for the model's, else the dataset's.
        folder: The data folder.

    Raises:
        BenchError: A name that nothing has, a threat that is not understood, or an ensemble whose members want
            their images prepared differently.
    """
    names = names_in(model)
    if dataset is None:
        dataset = next((home for name in names if (home := home_of(name))), DEFAULT_DATASET)
    dataset = (
        load_dataset(dataset, folder=folder)
        if isinstance(dataset, str)
        else called_by_content(dataset)
    )
    for name in names:
        _zoo_model(name, dataset.name)  # a name that nobody has is said before any download
    preparations = {preparation_of(name, dataset.name) for name in names}
    if len(preparations) > 1:
        raise BenchError(
            f"classifier {model!r}: its members want their images prepared differently "
            f"({', '.join(sorted(map(repr, preparations)))}); put those together that want the same"
        )
    if any(preparations):
        dataset = dataset.prepared_for(preparations.pop())
    threats = {threat_of(name, dataset.name) for name in names}
    wanted = threat or (threats.pop() if len(threats) == 1 else "") or dataset.threat
    return dataset, wanted if isinstance(wanted, Threat) else Threat.parse(wanted)


def with_known_classes(
    dataset: Dataset, model: object, load: Callable[[str | nn.Module], Classifier]
) -> Dataset:
    """The dataset with as many classes as its classifier, where its labels leave the number open.

    Args:
        dataset: The task.
        model: A name, an ensemble, or a network; empty or None where none is named.
        load: Loads a classifier for the dataset as it is.

    Raises:
        BenchError: The classifier cannot be loaded, or has fewer classes.
    """
    if not dataset.has_open_classes or not model:
        return dataset
    first = names_in(model)[0] if isinstance(model, str) else model
    if not isinstance(first, str | nn.Module):
        return dataset
    found = load(first)
    if found.classes < dataset.classes:
        raise BenchError(
            f"classifier {found.name!r} gives {found.classes} logits; {dataset.name} needs {dataset.classes}"
            f"{dataset.why_so_many_classes()}"
        )
    return dataset.with_classes(found.classes)
