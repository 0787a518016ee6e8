"""The interface of training: modules, optimisers, one step, augmentation; `benchmark.training.loop` runs it."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import pad
from torch.optim import Optimizer

from benchmark.engine.randomness import Draws
from benchmark.engine.threat import Threat
from benchmark.engine.victims.setting import Setting
from benchmark.errors import BenchError


class TrainingAttack(Protocol):
    """An attack as a recipe calls it."""

    def __call__(
        self,
        module: nn.Module,
        x: Tensor,
        y: Tensor,
        draws: Draws,
        *,
        threat: Threat | None = None,
    ) -> Tensor:
        """Adversarial images `(b, c, h, w)`, detached, on a module from images in [0, 1] to logits.

        Args:
            module: What is attacked, in the mode in which it is.
            x: Images `(b, c, h, w)` in [0, 1].
            y: Labels `(b,)`.
            draws: Of the b images.
            threat: The budget; None for the setting's.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Crafting:
    """One way in which a static set of adversarial images is made: once for every training image, and kept.

    Args:
        name: What the recipe calls it, such as `fgsm>all`.
        attack: As in `Recipe.attacks`: a name in the attack registry, with arguments or without.
        threats: The budgets, one of which is drawn for each image.
        against: Names of the classifiers whose mean logits are attacked, the defended one or companions; none
            for the defended one alone.
        labels: Whether the attack is given the true labels, or what the attacked classifiers predict on the
            clean image (so that it leaks no label).
        is_8bit: Whether pixels are rounded to 256 levels, as a PNG file holds them.
    """

    name: str
    attack: str
    threats: tuple[Threat, ...]
    against: tuple[str, ...] = ()
    labels: Literal["true", "predicted"] = "true"
    is_8bit: bool = False


@dataclass(frozen=True, slots=True)
class Length:
    """How long a training lasts: optimiser steps in all, and images in a step's batch."""

    steps: int
    batch_size: int


class Crafted(Protocol):
    """The images of a static set."""

    def images(self, name: str, indices: Tensor) -> Tensor:
        """Images `(b, c, h, w)` float32 in [0, 1], on the CPU, that one crafting made.

        Args:
            name: The crafting's.
            indices: `(b,)` into the training split, such as a step's `draws.images`; on any device.

        Raises:
            BenchError: The set has no such crafting, or its files have gone or changed.
        """


class Recipe(ABC):
    """How something is trained.

    `__init__` of a subclass takes keyword-only arguments, stores them under their own names and does nothing
    else. Everything that changes during training lies in `modules()` and `optimizers()`, so that a run that was
    killed goes on from a checkpoint to the very weights of an unbroken run.
    """

    attacks: ClassVar[tuple[str, ...]] = ()
    """Names in the attack registry that `build` is handed as callables, since a plugin imports no plugin."""
    companions: Sequence[str] | None = ()
    """Names of further classifiers of the same task, found in `setting.companions`; None for the dataset's
    surrogates."""
    steps: int | None
    """Optimiser steps in all; None where `length` says it."""
    batch_size: int | None
    validation_share: float = 0.0
    """Share of the training images that no step sees; after every epoch they are shown to `validate`."""

    def length(self, setting: Setting, images: int) -> Length:
        """How long it trains on so many training images, without those held out; called before `build`.

        Override it where that hangs on a preset or is counted in epochs. By default `steps` and `batch_size`.

        Raises:
            BenchError: They are left open.
        """
        del setting, images
        if self.steps is None or self.batch_size is None:
            raise BenchError(
                f"{type(self).__name__} says neither its steps nor its length; set both"
            )
        return Length(self.steps, self.batch_size)

    def attacks_for(self, setting: Setting) -> Sequence[str]:
        """The names in `attacks`, where they hang on arguments or on the setting; each as `pgd(steps=10)`."""
        del setting
        return self.attacks

    def craftings(self, setting: Setting) -> Sequence[Crafting]:
        """The static sets that are made before training begins, or found where they were made before."""
        del setting
        return ()

    def receive(self, crafted: Crafted) -> None:
        """Keeps the static sets at hand; called before `build` where `craftings` names any."""
        self._crafted = crafted

    def select(self, labels: Tensor) -> Tensor:
        """Indices `(m,)` of the training images that are used, out of their labels `(n,)`; all by default."""
        return torch.arange(len(labels))

    @abstractmethod
    def build(self, setting: Setting, attacks: Mapping[str, TrainingAttack]) -> None:
        """Makes the modules (seeded by the loop) and their optimisers, on `setting.device`.

        Raises:
            BenchError: An argument is out of range, no preset fits, or there is no classifier.
        """

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

    def validate(self, x: Tensor, y: Tensor, *, draws: Draws) -> float:
        """The mean loss on held-out images, by which `end_epoch` judges; it changes nothing.

        Args:
            x: Held-out images `(b, c, h, w)` in [0, 1].
            y: Labels `(b,)`.
            draws: Of these images, the same after every epoch.

        Raises:
            BenchError: The recipe holds images out and does not say what becomes of them.
        """
        del x, y, draws
        raise BenchError(
            f"{type(self).__name__} holds images out; give it a validate(x, y, *, draws)"
        )

    def end_epoch(self, loss: float) -> None:
        """Takes the mean of `validate` over all held-out images: schedules, best weights, early stops."""
        del loss

    def is_done(self) -> bool:
        """Whether training ends before its last step (early stopping); asked before every step."""
        return False

    @abstractmethod
    def product(self) -> dict[str, Tensor]:
        """The weights to be kept."""


class NetworkRecipe(Recipe):
    """How one network is trained by one optimiser; `build` makes both."""

    _network: nn.Module
    _optimizer: Optimizer

    def modules(self) -> dict[str, nn.Module]:
        """The network."""
        return {"network": self._network}

    def optimizers(self) -> dict[str, Optimizer]:
        """Its optimiser."""
        return {"optimizer": self._optimizer}

    def product(self) -> dict[str, Tensor]:
        """The network's state."""
        return dict(self._network.state_dict())


def descend(optimizer: Optimizer, loss: Tensor, *, rate: float | None = None) -> None:
    """One update down the gradient of a loss, at a learning rate of its own where one is given."""
    if rate is not None:
        for group in optimizer.param_groups:
            group["lr"] = rate
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()


def one_cycle(step: int, steps: int, rate: float, *, rise: int) -> float:
    """The learning rate of a step: a straight rise to `rate` over `rise` steps, then half a cosine to 0."""
    rise = max(1, rise)
    if step < rise:
        return rate * (step + 1) / rise
    return rate * 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))


MIRRORED = frozenset({"cifar10", "cifar100", "tiny_imagenet", "imagenette", "imagenet"})
"""Datasets whose classes a mirror does not change; a mirrored digit is another or none."""


def shifted(x: Tensor, reach: int, *, draws: Draws) -> Tensor:
    """Images `(b, c, h, w)`, each moved by up to `reach` pixels along both axes; black comes in."""
    if not reach:
        return x
    b, c, h, w = x.shape
    offsets = draws.integers(2 * reach + 1, (2,))  # (b, 2)
    rows = offsets[:, 0, None] + torch.arange(h, device=x.device)  # (b, h)
    columns = offsets[:, 1, None] + torch.arange(w, device=x.device)  # (b, w)
    images = torch.arange(b, device=x.device)[:, None, None, None]
    channels = torch.arange(c, device=x.device)[None, :, None, None]
    return pad(x, (reach,) * 4)[images, channels, rows[:, None, :, None], columns[:, None, None, :]]


def augmented(x: Tensor, *, shift: int, flip: bool, draws: Draws) -> Tensor:
    """Images `(b, c, h, w)`, each moved by up to `shift` pixels, and mirrored by chance if `flip` says so."""
    x = shifted(x, shift, draws=draws.at("shift"))
    return mirrored(x, draws=draws.at("flip")) if flip else x


def mirrored(x: Tensor, *, draws: Draws) -> Tensor:
    """Images `(b, c, h, w)`, each turned left to right with probability one half."""
    turns = draws.integers(2).bool().view(-1, 1, 1, 1)
    return torch.where(turns, x.flip(3), x)
