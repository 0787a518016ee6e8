"""Classifiers: frozen networks from images in [0, 1] to logits, with taps."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor, nn

from benchmark.engine.victims.logits import as_logits, logits_in
from benchmark.engine.victims.taps import INPUT, Position, positions
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
        code: sha256 of the user's own modules that compute with them, hex; empty where there are none.
        source: sha256 of all else of its own that decides its logits, hex; whoever loads it finds out.
        harness: sha256 of the harness's modules that these import, hex.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        name: str,
        classes: int,
        sha256: str,
        code: str = "",
        source: str = "",
        harness: str = "",
    ) -> None:
        super().__init__()
        self.network = network.requires_grad_(False)
        self.name = name
        self.classes = classes
        self.sha256 = sha256
        self.code = code
        self.source = source
        self.harness = harness
        super().train(False)

    def train(self, mode: bool = True) -> Self:
        """Does nothing: a frozen classifier stays in eval mode."""
        del mode
        return self

    def forward(self, x: Tensor) -> Tensor:
        """Logits `(b, k)` of images `(b, c, h, w)` in [0, 1], of their dtype.

        The network is given a copy: many normalise in place.

        Raises:
            ContractBroken: The network returns no logits, or not one for each class.
        """
        what = f"classifier {self.name!r}"
        return as_logits(self.network(x.clone()), x, classes=self.classes, what=what)

    def tap_names(self) -> list[str]:
        """The names of all submodules that `features` can tap, in the order in which they are defined."""
        return [name for name, _ in self.network.named_modules() if name]

    def positions(self, shape: tuple[int, int, int]) -> dict[str, Position]:
        """Places to tap by names that hang on no architecture: `stem`, `1/3`, ..., `pooled`, `logits`.

        Costs one forward pass; ask once, in `prepare`:

            place = classifier.positions(setting.shape)["2/3"]
            logits, taps = classifier.features(x, [place.tap])
            pooled = place.pooled(taps[place.tap])  # (b, place.channels)

        Args:
            shape: `(c, h, w)` of an image.

        Raises:
            BenchError: The classifier does not take such images, or has nothing to tap.
        """
        return positions(self.network, shape)

    def features(self, x: Tensor, names: Sequence[str]) -> tuple[Tensor, dict[str, Tensor]]:
        """Logits and what named submodules put out, from one forward pass; stateless per call.

        Args:
            x: Images `(b, c, h, w)` in [0, 1].
            names: Names out of `tap_names()`, or the `tap` of a position; `NAME:input` taps what the module is
                given. Of a module that runs several times, the last time counts.

        Returns:
            Logits `(b, k)`, and each tapped tensor under its name, cloned (in-place ReLUs would change it).

        Raises:
            BenchError: A name is no submodule's, or its module did not run or returned no tensor.
        """
        modules = dict(self.network.named_modules())
        taps: dict[str, Tensor] = {}

        def tap(name: str) -> torch.utils.hooks.RemovableHandle:
            module = modules.get(name.removesuffix(INPUT))
            if module is None:
                raise BenchError(f"classifier {self.name!r} has no submodule {name!r} to tap")

            def take(_module: nn.Module, inputs: tuple[object, ...], *output: object) -> None:
                value = output[0] if output else next(iter(inputs), None)
                value = logits_in(value) if output and module is self.network else value
                if isinstance(value, Tensor):
                    taps[name] = value.clone()

            is_before = name.endswith(INPUT)
            add = module.register_forward_pre_hook if is_before else module.register_forward_hook
            handle: torch.utils.hooks.RemovableHandle = add(take)
            return handle

        with contextlib.ExitStack() as stack:
            for name in dict.fromkeys(names):
                stack.callback(tap(name).remove)
            logits = self(x)
        silent = [name for name in names if name not in taps]
        if silent:
            raise BenchError(f"classifier {self.name!r}: no tensor came out of {', '.join(silent)}")
        return logits, taps
