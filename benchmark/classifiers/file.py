"""Classifiers out of a file, here, of the Hub, or under a URL: `file:PATH@ARCHITECTURE`."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from benchmark.classifier import Classifier
from benchmark.classifiers.names import CLASSIFIERS, FILE_FORM, file_parts, unknown_classifier
from benchmark.classifiers.state import fitted, load_state
from benchmark.classifiers.zoo import zoo_network, zoo_network_of
from benchmark.classifiers.zoo_names import resolve
from benchmark.containment import contained
from benchmark.dataset import Dataset
from benchmark.errors import BenchError
from benchmark.fetching.remote import local_file, pinned
from benchmark.registry import imported
from benchmark.weights import sha256_of


def load_file(
    text: str, *, dataset: Dataset, device: torch.device | str, dtype: torch.dtype
) -> Classifier:
    """A classifier whose weights are in a file: safetensors, else a pickle read as data alone.

    Args:
        text: `file:PATH@ARCHITECTURE`: a path, a URL or `hf:org/name...`, and the name of a classifier whose
            network it has, or `module:callable` of a callable that makes the network without arguments (images
            in [0, 1] to logits).
        dataset: The task, whose shape and classes the network must have.
        device: Where it is put.
        dtype: Of its weights.

    Raises:
        BenchError: The form is wrong, the file is missing or damaged or would run code, or the network is
            another one.
    """
    path_text, architecture = file_parts(text)
    if not path_text:
        raise BenchError(f"classifier {text!r} is not understood: expected {FILE_FORM}")
    path = _found(path_text, architecture)
    with torch.random.fork_rng(devices=[]):  # first weights, made only to be replaced
        network = _network(architecture, dataset, path)
    classifier = Classifier(
        network,
        name=_name(path, architecture),
        classes=dataset.classes,
        sha256=sha256_of(path),
    )
    _refuse_other_task(classifier, dataset)
    return classifier.to(device=device, dtype=dtype)


def _network(architecture: str, dataset: Dataset, path: Path) -> nn.Module:
    """The network with the file's weights."""
    state = load_state(path)
    if architecture in CLASSIFIERS.paths():
        return fitted(CLASSIFIERS.get(architecture)().network(), state, path)
    if ":" in architecture:
        return fitted(_brought(architecture), state, path)
    found = resolve(architecture, dataset.name)
    if found is None:
        raise unknown_classifier(architecture, dataset.name)
    try:
        return fitted(zoo_network(found), state, path)
    except (
        BenchError
    ) as error:  # not its own state dict, but perhaps a checkpoint as RobustBench keeps it
        if found.is_ensemble:
            raise
        try:
            return zoo_network_of(found, [path])
        except BenchError:
            raise error from None


def _brought(architecture: str) -> nn.Module:
    """What the user's `module:callable` makes."""
    make = imported(architecture, what="architecture")
    with contained(f"architecture {architecture!r}; expected {FILE_FORM}; making it"):
        network = make()
    if not isinstance(network, nn.Module):
        raise BenchError(
            f"architecture {architecture!r} made no torch.nn.Module; expected {FILE_FORM}"
        )
    return network


def pinned_model(text: str) -> str:
    """The same `file:PATH@ARCHITECTURE`, so that it names the same weights for ever."""
    path_text, architecture = file_parts(text)
    return f"file:{pinned(path_text)}@{architecture}"


def file_name_of(text: str) -> str:
    """What the classifier of a `file:PATH@ARCHITECTURE` is called in an entry.

    Raises:
        BenchError: The form is wrong, or the file is missing or cannot be had.
    """
    path_text, architecture = file_parts(text)
    if not path_text:
        raise BenchError(f"classifier {text!r} is not understood: expected {FILE_FORM}")
    return _name(_found(path_text, architecture), architecture)


def _found(path_text: str, architecture: str) -> Path:
    what = f"the weights of a {architecture}"
    return local_file(path_text, what=what, accept=_refuse_unreadable)


def _name(path: Path, architecture: str) -> str:
    return f"{path.stem}@{architecture.replace(':', '.')}"


def _refuse_unreadable(path: Path) -> None:
    load_state(path)


def _refuse_other_task(classifier: Classifier, dataset: Dataset) -> None:
    try:
        with torch.no_grad():
            found = tuple(classifier(torch.zeros(1, *dataset.shape)).shape)
    except RuntimeError as error:
        reason = str(error).strip().split("\n")[0]
        raise BenchError(
            f"classifier {classifier.name!r} takes no images of shape {dataset.shape} as {dataset.name} "
            f"has them ({reason})"
        ) from error
    if dataset.has_open_classes and found[:1] == (1,) and found[1:] > (dataset.classes,):
        classifier.classes = found[1]
    elif found != (1, dataset.classes):
        raise BenchError(
            f"classifier {classifier.name!r} gives logits of shape {found} for one image; {dataset.name} "
            f"needs (1, {dataset.classes}){dataset.why_so_many_classes()}"
        )
