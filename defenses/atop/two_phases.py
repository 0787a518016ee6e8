"""Training in two phases, of either purifier: clean images first, then adversarial ones."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from benchmark.engine.randomness import Draws
from benchmark.engine.victims.classifier import Classifier
from benchmark.engine.victims.setting import Setting
from benchmark.errors import BenchError
from benchmark.recipe import MIRRORED, Length, Recipe, TrainingAttack, augmented
from defenses.atop.mae_presets import MAEPreset
from defenses.atop.presets import Preset
from defenses.atop.resolution import resized, shape_at
from defenses.presets import AUTO, with_arguments

Purify = Callable[[Tensor, Draws], Tensor]
"""`(x, draws) -> x_hat`."""
THROUGH = ("classifier", "pipeline")
CROPPED = frozenset({"imagenette", "imagenet"})
"""Datasets that AToP's code pads by an eighth of their side and crops at random."""


class Pipeline(nn.Module):
    """Images to logits through a random purifier, at fresh draws for each call.

    Args:
        purify: The purifier as it stands.
        classifier: The frozen classifier behind it.
        draws: Of the images of the one batch that is attacked.
        eot: Over how many draws logits are averaged.
    """

    def __init__(self, purify: Purify, classifier: Classifier, draws: Draws, *, eot: int) -> None:
        super().__init__()
        self.purify = purify
        self.classifier = classifier
        self.draws = draws
        self.eot = eot
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        """Mean logits `(b, k)` of images `(b, c, h, w)`."""
        draws = self.draws.at("call", self.calls).repeat(self.eot)
        self.calls += 1
        logits: Tensor = self.classifier(self.purify(x.repeat_interleave(self.eot, 0), draws))
        return logits.view(len(x), self.eot, -1).mean(1)


@dataclass(kw_only=True, eq=False, repr=False)
class TwoPhases(Recipe):
    """Pre-training on clean images, then fine-tuning on adversarial ones through the frozen classifier.

    Args:
        preset: Size of the networks; `auto` takes the one that is made for the images' shape.
        tuned: Whether there is a fine-tuning; without, all steps are pre-training ("without AToP").
        upscale: Height and width at which images are purified; None is their own. They are attacked, and
            classified, at their own.
        steps: Optimiser steps in all; None is the preset's.
        pretraining: How many of them come before fine-tuning; None is the preset's share.
        batch_size: Images in a step; None is the preset's.
        learning_rate: Of the optimiser at its highest; None is the preset's.
        ce_weight: Lambda of Eq. 9 in fine-tuning; None is the preset's.
        shift: By how many pixels at the most images are moved, each way, over black; None is the dataset's.
        flip: Whether images are mirrored at random; None is the dataset's.
        attack: What makes x' in fine-tuning: an attack's name, with arguments or without, as `pgd(steps=10)`.
    """

    preset: str = AUTO
    tuned: bool = True
    upscale: int | None = None
    steps: int | None = None
    pretraining: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    ce_weight: float | None = None
    shift: int | None = None
    flip: bool | None = None
    attack: str = "fgsm"
    through = "classifier"
    eot = 1

    @abstractmethod
    def preset_of(self, setting: Setting) -> Preset | MAEPreset:
        """What is not given."""

    @abstractmethod
    def restored(self, x: Tensor, draws: Draws) -> Tensor:
        """What the network makes, as it stands, of images of the size at which it purifies."""

    def length(self, setting: Setting, images: int) -> Length:
        """The preset's steps and batch where they are not given."""
        del images
        preset = with_arguments(self.preset_of(setting), self, "steps", "batch_size")
        return Length(preset.steps, preset.batch_size)

    def attacks_for(self, setting: Setting) -> tuple[str, ...]:
        """The one that fine-tuning is made against."""
        del setting
        return (self.attack,) if self.tuned else ()

    def plan(self, setting: Setting, attacks: Mapping[str, TrainingAttack]) -> None:
        """Resolves what is left to preset and dataset.

        Raises:
            BenchError: An argument is out of range, no preset fits, or there is no classifier.
        """
        preset = self.preset_of(setting)
        self._shape = shape_at(setting.shape, self.upscale)
        self._steps = self.length(setting, 0).steps
        self._pretraining = pretraining_of(
            self._steps,
            self.pretraining if self.tuned else self._steps,
            share=preset.pretraining / preset.steps,
        )
        settled = with_arguments(preset, self, "learning_rate", "ce_weight")
        self._rate, self._ce_weight = settled.learning_rate, settled.ce_weight
        self._classifier = setting.defended()
        usual = setting.shape[2] // 8 if setting.dataset in CROPPED else 0
        self._shift = usual if self.shift is None else self.shift
        self._flip = setting.dataset in MIRRORED if self.flip is None else self.flip
        if self.tuned:
            refuse_choice("through", self.through, THROUGH)
            if self.eot < 1:
                raise BenchError(f"atop's eot is a number of draws from 1 up; got {self.eot!r}")
            self._attack = attacks[self.attack]

    def augment(self, x: Tensor, draws: Draws) -> Tensor:
        """Images `(b, c, h, w)` moved and mirrored, each by itself."""
        return augmented(x, shift=self._shift, flip=self._flip, draws=draws)

    def purified(self, x: Tensor, draws: Draws) -> Tensor:
        """What the network makes of images `(b, c, h, w)` as it stands."""
        return resized(self.restored(resized(x, self._shape), draws), x.shape)

    def attacked(self, x: Tensor, y: Tensor, draws: Draws) -> Tensor:
        """The adversarial images `(b, c, h, w)` of fine-tuning, detached."""
        if self.through == "classifier":
            return self._attack(self._classifier, x, y, draws)
        whole = Pipeline(self.purified, self._classifier, draws.at("pipeline"), eot=self.eot)
        return self._attack(whole, x, y, draws)


def pretraining_of(steps: int, wanted: int | None, *, share: float) -> int:
    """How many of so many steps come before fine-tuning: as many as are wanted, or a share of them.

    Raises:
        BenchError: More are wanted than there are.
    """
    pretraining = round(share * steps) if wanted is None else wanted
    if not 0 <= pretraining <= steps:
        raise BenchError(f"atop's pretraining is a part of its {steps} steps; got {pretraining}")
    return pretraining


def refuse_choice(what: str, value: str, known: Sequence[str]) -> None:
    """Refuses an argument that is none of a few words.

    Raises:
        BenchError: It is none of them.
    """
    if value not in known:
        raise BenchError(f"atop's {what} is one of {', '.join(known)}; got {value!r}")
