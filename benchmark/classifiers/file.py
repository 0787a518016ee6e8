"""Classifiers out of a file, here, of the Hub, or under a URL: `file:PATH@ARCHITECTURE`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import nn

from benchmark.classifiers.catalog import (
    CLASSIFIERS,
    FILE_FORM,
    file_parts,
    key_parts,
    unknown_classifier,
)
from benchmark.classifiers.code import code_sha256, modules_sha256
from benchmark.classifiers.fitting import Accuracy, LoadedNetwork, SeveralFit, fitted
from benchmark.classifiers.rivals import largest_in
from benchmark.classifiers.state import load_state, states_in
from benchmark.classifiers.zoo import zoo_network, zoo_network_of
from benchmark.classifiers.zoo_names import resolve
from benchmark.compute.sandbox import sandboxed
from benchmark.engine.dataset import Dataset, images_of, indices_of, labels_of
from benchmark.engine.victims.acceptance import refuse_misfit, shown
from benchmark.engine.victims.classifier import Classifier
from benchmark.engine.victims.logits import logits_in
from benchmark.errors import BenchError
from benchmark.files.known_hashes import file_sha256
from benchmark.files.locations import local_file, pinned
from benchmark.identity.content_names import known_by
from benchmark.registry import imported

ASKED = 256
"""Clean images by which rival states of a checkpoint are compared."""
PART = 64
"""Of them in one pass."""


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
        return local_file(self.path, what=what, accept=load_state)

    def name(self, path: Path) -> str:
        """What an entry calls the classifier: by what the file and the user's module hold."""
        key = f".{self.key}" if self.key else ""
        stem = known_by(path.stem, file_sha256(path), modules_sha256(self.modules))
        return f"{stem}{key}@{self.architecture.replace(':', '.')}"

    @property
    def modules(self) -> list[str]:
        """The user's module that makes the network; none where its architecture is one by name."""
        module, colon, _ = self.architecture.partition(":")
        return [module] if colon else []

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
        found = _network(typed, dataset, path, partial(_share_right, dataset, device))
    classifier = Classifier(
        found.network,
        name=typed.name(path),
        classes=dataset.classes,
        sha256=found.sha256,
        code=code_sha256(found.network, *typed.modules),
    ).to(device=device, dtype=dtype)
    refuse_misfit(classifier, dataset)
    return classifier


def _network(typed: _Typed, dataset: Dataset, path: Path, accuracy: Accuracy) -> LoadedNetwork:
    """The network with the file's weights."""
    content, architecture = load_state(path), typed.architecture
    fill = partial(fitted, content=content, path=path, key=typed.key, accuracy=accuracy)
    if architecture in CLASSIFIERS.paths():
        return fill(CLASSIFIERS.get(architecture)().network())
    if ":" in architecture:
        return fill(_brought(architecture))
    found = resolve(architecture, dataset.name)
    if found is None:
        raise unknown_classifier(architecture, dataset.name)
    try:
        return fill(zoo_network(found))
    except BenchError as error:
        # not its own state dict, but perhaps a checkpoint as RobustBench keeps it
        is_one = len(largest_in(states_in(content))) == 1
        if found.is_ensemble or typed.key or isinstance(error, SeveralFit) or not is_one:
            raise
        try:
            return LoadedNetwork(zoo_network_of(found, [path]), file_sha256(path))
        except BenchError:
            raise error from None


def _share_right(dataset: Dataset, device: torch.device | str, network: nn.Module) -> float:
    """How often a network is right on the first clean images, in [0, 1]."""
    first = torch.tensor(indices_of(dataset, "test", "nested")[:ASKED])
    x, y = images_of(dataset, "test", first).float(), labels_of(dataset, "test")[first]
    network = network.float().eval().to(device)
    right = 0
    with shown(f"a {type(network).__name__}", x, dataset), torch.no_grad():
        for start in range(0, len(x), PART):
            logits = logits_in(network(x[start : start + PART].to(device)))
            if logits is not None:
                right += int((logits.argmax(1).cpu() == y[start : start + PART]).sum())
    network.cpu()
    return right / len(first)


def _brought(architecture: str) -> nn.Module:
    """What the user's `module:callable` makes."""
    make = imported(architecture, what="architecture")
    with sandboxed(f"architecture {architecture!r}; expected {FILE_FORM}; making it"):
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
