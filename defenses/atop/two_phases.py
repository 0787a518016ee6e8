"""Training in two phases, of either purifier: clean images first, then adversarial ones."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping

from benchmark.engine.victims.classifier import Classifier
from benchmark.engine.victims.setting import Setting
from benchmark.errors import BenchError
from benchmark.recipe import Length, Recipe, TrainingAttack
from defenses.atop.mae_presets import MAEPreset
from defenses.atop.pipeline import Crafter
from defenses.atop.presets import Preset
from defenses.atop.resolution import shape_at


class TwoPhases(Recipe):
    """Pre-training on clean images, then fine-tuning on adversarial ones through the frozen classifier."""

    preset: str
    tuned: bool
    upscale: int | None
    steps: int | None
    pretraining: int | None
    batch_size: int | None
    learning_rate: float | None
    ce_weight: float | None
    attack: str
    through: str
    eot: int

    @abstractmethod
    def preset_of(self, setting: Setting) -> Preset | MAEPreset:
        """What is not given."""

    def length(self, setting: Setting, images: int) -> Length:
        """The preset's steps and batch where they are not given."""
        del images
        preset = self.preset_of(setting)
        return Length(
            preset.steps if self.steps is None else self.steps,
            preset.batch_size if self.batch_size is None else self.batch_size,
        )

    def attacks_for(self, setting: Setting) -> tuple[str, ...]:
        """The one that fine-tuning is made against."""
        del setting
        return (self.attack,) if self.tuned else ()

    def plan(self, setting: Setting, attacks: Mapping[str, TrainingAttack]) -> None:
        """Resolves what is left to the preset.

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
        self._rate = preset.learning_rate if self.learning_rate is None else self.learning_rate
        self._ce_weight = preset.ce_weight if self.ce_weight is None else self.ce_weight
        self._classifier: Classifier = setting.defended()
        if self.tuned:
            self._craft = Crafter(
                attacks,
                attack=self.attack,
                through=self.through,
                eot=self.eot,
                classifier=self._classifier,
            )


def pretraining_of(steps: int, wanted: int | None, *, share: float) -> int:
    """How many of so many steps come before fine-tuning: as many as are wanted, or a share of them.

    Raises:
        BenchError: More are wanted than there are.
    """
    pretraining = round(share * steps) if wanted is None else wanted
    if not 0 <= pretraining <= steps:
        raise BenchError(f"atop's pretraining is a part of its {steps} steps; got {pretraining}")
    return pretraining
