"""Classifiers out of a file, here, of the Hub, or under a URL: `file:PATH@ARCHITECTURE`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from benchmark.classifier import Classifier
from benchmark.classifiers.acceptance import refuse_misfit
from benchmark.classifiers.fitting import Fitted, SeveralFit, fitted
from benchmark.classifiers.names import (
    CLASSIFIERS,
    FILE_FORM,
    file_parts,
    key_parts,
    unknown_classifier,
)
from benchmark.classifiers.state import load_state
from benchmark.classifiers.zoo import zoo_network, zoo_network_of
from benchmark.classifiers.zoo_names import resolve
from benchmark.containment import contained
from benchmark.content_names import known_by
from benchmark.dataset import Dataset
from benchmark.errors import BenchError
from benchmark.fetching.remote import local_file, pinned
from benchmark.registry import imported
from benchmark.weights import sha256_of


@dataclass(frozen=True, slots=True)
class _Typed:
    """`file:PATH#KEY@ARCHITECTURE` in its parts; `key` is empty where none is given.

    Raises:
        BenchError: The form is wrong.
    """

    path: str
    key: str
    architecture: str

    @classmethod
    def parse(cls, text: str) -> _Typed:
        path, architecture = file_parts(text)
        if not path:
            raise BenchError(f"classifier {text!r} is not understood: expected {FILE_FORM}")
        return cls(*key_parts(path), architecture)

    def file(self) -> Path:
        """The file, downloaded where need be."""
        what = f"the weights of a {self.architecture}"
        return local_file(self.path, what=what, accept=_refuse_unreadable)

    def name(self, path: Path) -> str:
        """What an entry calls the classifier: by the file's content, since many files have one name."""
        key = f".{self.key}" if self.key else ""
        stem = known_by(path.stem, sha256_of(path))
        return f"{stem}{key}@{self.architecture.replace(':', '.')}"

    def pinned(self) -> str:
        """The same text, so that it names the same weights for ever."""
        key = f"#{self.key}" if self.key else ""
        return f"file:{pinned(self.path)}{key}@{self.architecture}"


def load_file(
    text: str, *, dataset: Dataset, device: torch.device | str, dtype: torch.dtype
) -> Classifier:
    """A classifier whose weights are in a file: safetensors, else a pickle read as data alone.

    Args:
        text: `file:PATH@ARCHITECTURE`: a path, a URL or `hf:org/name...`, and the name of a classifier whose
            network it has, or `module:callable` of a callable that makes the network without arguments (images
            in [0, 1] to logits). `PATH#KEY` names one of several states in the file.
        dataset: The task, whose shape and classes the network must have.
        device: Where it is put.
        dtype: Of its weights.

    Raises:
        BenchError: The form is wrong, the file is missing or damaged or would run code, or the network is
            another one.
    """
    typed = _Typed.parse(text)
    path = typed.file()
    with torch.random.fork_rng(devices=[]):  # first weights, made only to be replaced
        found = _network(typed, dataset, path)
    classifier = Classifier(
        found.network, name=typed.name(path), classes=dataset.classes, sha256=found.sha256
    ).to(device=device, dtype=dtype)
    refuse_misfit(classifier, dataset)
    return classifier


def _network(typed: _Typed, dataset: Dataset, path: Path) -> Fitted:
    """The network with the file's weights."""
    content, architecture = load_state(path), typed.architecture
    if architecture in CLASSIFIERS.paths():
        return fitted(CLASSIFIERS.get(architecture)().network(), content, path, key=typed.key)
    if ":" in architecture:
        return fitted(_brought(architecture), content, path, key=typed.key)
    found = resolve(architecture, dataset.name)
    if found is None:
        raise unknown_classifier(architecture, dataset.name)
    try:
        return fitted(zoo_network(found), content, path, key=typed.key)
    except BenchError as error:
        # not its own state dict, but perhaps a checkpoint as RobustBench keeps it
        if found.is_ensemble or typed.key or isinstance(error, SeveralFit):
            raise
        try:
            return Fitted(zoo_network_of(found, [path]), sha256_of(path))
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
    return _Typed.parse(text).pinned()


def file_name_of(text: str) -> str:
    """What the classifier of a `file:PATH@ARCHITECTURE` is called in an entry.

    Raises:
        BenchError: The form is wrong, or the file is missing or cannot be had.
    """
    typed = _Typed.parse(text)
    return typed.name(typed.file())


def _refuse_unreadable(path: Path) -> None:
    load_state(path)
