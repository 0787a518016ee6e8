"""Weights that a request needs and nobody has: named all at once, each with the command that trains it."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from benchmark.errors import WeightsMissing


@dataclass(frozen=True, slots=True)
class MissingWeights:
    """A defense without weights for what it is asked to stand before.

    Args:
        defense: What the user calls it.
        models: The classifiers that it has to be trained for, the defended one first.
        dataset: The dataset's name.
        arguments: Of the defense, as given.
    """

    defense: str
    models: tuple[str, ...]
    dataset: str
    arguments: Mapping[str, Any] = field(default_factory=dict)

    @property
    def command(self) -> str:
        """What trains it."""
        words = ["bench", "train", "--defense", self.defense]
        for model in self.models:
            words += ["--model", model]
        words += ["--dataset", self.dataset]
        for key, value in self.arguments.items():
            words += ["--defense-arg", f"{key}={value}"]
        return shlex.join(words)

    def __str__(self) -> str:
        return f"{self.defense} has no weights for {' and '.join(self.models)} on {self.dataset}"


def weights_missing(missing: Iterable[MissingWeights]) -> WeightsMissing:
    """One line with everything that is missing, and how it comes to be."""
    once = {each.command: each for each in missing}
    return WeightsMissing(
        f"{'; '.join(map(str, once.values()))}; train them with: {' && '.join(once)} (or add --train, or give "
        f"--weights FILE, URL or hf:org/name)",
        tuple(once.values()),
    )
