"""The interface of classifier plugins: a network without weights, and the file in which its weights are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, final

import torch
from torch import nn

from benchmark.classifiers.fitting import fitted
from benchmark.classifiers.state import load_state
from benchmark.engine.victims.classifier import Classifier
from benchmark.errors import BenchError
from benchmark.files.user_folders import weights_folder
from benchmark.recipe import Recipe


class ClassifierSource(ABC):
    """One classifier of one dataset, ready to be loaded.

    `__init__` of a subclass takes no arguments that lack a default, and does nothing but store them.
    """

    name: str
    """What it is called on the command line and in an entry."""
    dataset: str
    """The name of the dataset whose classes it knows."""
    classes: int
    """k, the number of logits."""
    summary: str = ""
    """One line for a listing."""
    ships: bool = True
    """Whether its weights come with the package that brings it; what does not ship is trained by its user."""

    @abstractmethod
    def network(self) -> nn.Module:
        """The network without weights, on the CPU: images `(b, c, h, w)` in [0, 1] to logits `(b, k)`."""

    @abstractmethod
    def weights(self, folder: Path) -> Path:
        """The file with its weights.

        Args:
            folder: The data folder, in which downloads are kept (`models/...`); what ships ignores it.

        Those that a `weights/manifest.yaml` beside the class's module lists, shipped or to be downloaded, are
        `plugin_weights(type(self), "classifier", label=self.name, dataset=self.dataset)` of
        `benchmark.files.manifest`.

        Raises:
            BenchError: It is not there and cannot be had.
        """

    def recipe(self, *, is_adversarial: bool) -> Recipe:
        """How it is trained, for `bench train --classifier`.

        Raises:
            BenchError: It is not trained here.
        """
        raise BenchError(
            f"classifier {self.name!r} is not trained here"
            f"{', adversarially or otherwise' if is_adversarial else ''}; its weights come as they are"
        )

    def trained_file(self) -> Path | None:
        """The user's own file, which `bench train` writes where no weights ship; None where they do."""
        return None if self.ships else weights_folder() / f"{self.name}.safetensors"

    def state(self, path: Path) -> Any:
        """The network's state, or a checkpoint that holds it, out of its weights file, read as data alone.

        Raises:
            BenchError: The file is damaged or of another kind.
        """
        return load_state(path)

    @final
    def load(
        self,
        *,
        folder: Path,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> Classifier:
        """The frozen classifier with its weights.

        Raises:
            BenchError: The weights cannot be had, or do not fit the network.
        """
        path = Path(self.weights(folder))
        with torch.random.fork_rng(devices=[]):  # first weights, made only to be replaced
            network = self.network()
        network, sha256 = fitted(network, self.state(path), path)
        classifier = Classifier(network, name=self.name, classes=self.classes, sha256=sha256)
        return classifier.to(device=device, dtype=dtype)
