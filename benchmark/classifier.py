"""Classifiers: frozen networks from images in [0, 1] to logits, with taps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor, nn

from benchmark.errors import BenchError


class Classifier(nn.Module):
    """A frozen network: images `(b, c, h, w)` in [0, 1] to logits `(b, k)`; normalisation lives inside.

    It stays in eval mode whatever is asked of it, because attack libraries switch modes; its weights take no
    gradients, its input does.

    Args:
        network: The network; it is frozen here.
        name: What it is called in an entry (`standard-r18`, `Gowal2021Improving_28_10_ddpm_100m`).
        classes: k, the number of logits.
        sha256: Of the weights file it was loaded from, hex.
    """

    def __init__(self, network: nn.Module, *, name: str, classes: int, sha256: str) -> None:
        super().__init__()
        self.network = network.requires_grad_(False)
        self.name = name
        self.classes = classes
        self.sha256 = sha256
        super().train(False)

    def train(self, mode: bool = True) -> Self:
        """Does nothing: a frozen classifier stays in eval mode."""
        del mode
        return self

    def forward(self, x: Tensor) -> Tensor:
        """Logits `(b, k)` of images `(b, c, h, w)` in [0, 1]."""
        logits: Tensor = self.network(x)
        return logits

    def tap_names(self) -> list[str]:
        """The names of all submodules that `features` can tap, in the order in which they are defined."""
        return [name for name, _ in self.network.named_modules() if name]

    def features(self, x: Tensor, names: Sequence[str]) -> tuple[Tensor, dict[str, Tensor]]:
        """Logits and the outputs of named submodules, from one forward pass; stateless per call.

        Args:
            x: Images `(b, c, h, w)` in [0, 1].
            names: Names out of `tap_names()`.

        Returns:
            Logits `(b, k)`, and each tapped output under its name, cloned (in-place ReLUs would change it).

        Raises:
            BenchError: A name is no submodule's, or its module did not run or returned no tensor.
        """
        modules = dict(self.network.named_modules())
        taps: dict[str, Tensor] = {}

        def keep(name: str) -> torch.utils.hooks.RemovableHandle:
            if name not in modules:
                raise BenchError(f"classifier {self.name!r} has no submodule {name!r} to tap")

            def hook(_module: nn.Module, _inputs: object, output: object) -> None:
                if isinstance(output, Tensor):
                    taps[name] = output.clone()

            handle: torch.utils.hooks.RemovableHandle = modules[name].register_forward_hook(hook)
            return handle

        handles: list[torch.utils.hooks.RemovableHandle] = []
        try:
            handles.extend(keep(name) for name in names)
            logits = self(x)
        finally:
            for handle in handles:
                handle.remove()
        silent = [name for name in names if name not in taps]
        if silent:
            raise BenchError(f"classifier {self.name!r}: no tensor came out of {', '.join(silent)}")
        return logits, taps
