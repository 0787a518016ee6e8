"""The interface of training: modules, optimisers, one step; the loop is `benchmark.training.loop`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import ClassVar

from torch import Tensor, nn
from torch.optim import Optimizer

from benchmark.randomness import Draws
from benchmark.setting import Setting

TrainingAttack = Callable[[nn.Module, Tensor, Tensor, Draws], Tensor]
"""`(module, x, y, draws) -> x_adv`: adversarial images on a module from images to logits."""


class Recipe(ABC):
    """How something is trained.

    `__init__` of a subclass takes keyword-only arguments, stores them under their own names and does nothing
    else. Everything that changes during training lies in `modules()` and `optimizers()`, so that a run that was
    killed goes on from a checkpoint to the very weights of an unbroken run.
    """

    attacks: ClassVar[tuple[str, ...]] = ()
    """Names in the attack registry that `build` is handed as callables, since a plugin imports no plugin."""
    steps: int
    """Optimiser steps in all."""
    batch_size: int

    @abstractmethod
    def build(self, setting: Setting, attacks: Mapping[str, TrainingAttack]) -> None:
        """Makes the modules (seeded by the loop) and their optimisers, on `setting.device`."""

    @abstractmethod
    def modules(self) -> dict[str, nn.Module]:
        """All modules whose state training changes, by name."""

    @abstractmethod
    def optimizers(self) -> dict[str, Optimizer]:
        """All optimisers, by name."""

    @abstractmethod
    def step(self, x: Tensor, y: Tensor, *, step: int, draws: Draws) -> dict[str, float]:
        """One update on a batch.

        Args:
            x: Training images `(b, c, h, w)` in [0, 1], not augmented.
            y: Labels `(b,)`.
            step: Counted from 0; schedules and phases hang on it.
            draws: This step's randomness, one stream an image.

        Returns:
            Named losses, for the training record.
        """

    @abstractmethod
    def product(self) -> dict[str, Tensor]:
        """The weights to be kept."""
