"""How Trust-no-pixel's inpainter is trained: AToP's first phase, under Trust-no-pixel's own masks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn
from torch.optim import Optimizer

from benchmark.engine.randomness import Draws
from benchmark.engine.victims.setting import Setting
from benchmark.recipe import Length, Recipe, TrainingAttack
from defenses.atop.presets import AUTO
from defenses.atop.recipe import AToPRecipe
from defenses.atop.transforms import Kind


@dataclass(kw_only=True, eq=False, repr=False)
class TrustNoPixelRecipe(Recipe):
    """Inpainting of clean images, of each of which one of its N masks is shown in a step.

    The paper takes an inpainter that was trained on Places2. With `tuned`, AToP's fine-tuning follows, through
    all N masks of every image.

    Args:
        copies: N, the number of masks.
        tile: Side, in pixels, of the squares that are assigned to masks.
        preset: Size of the networks; `auto` takes the one that is made for the images' shape.
        tuned: Whether AToP's fine-tuning follows.
        upscale: Height and width at which images are purified; None is their own.
        steps: Optimiser steps in all; None is the preset's.
        pretraining: How many of them come before a fine-tuning; None is the preset's share.
        batch_size: Images in a step; None is the preset's.
        learning_rate: Of Adam at the beginning; None is the preset's.
        ce_weight: Lambda of AToP's Eq. 9 in a fine-tuning; None is the preset's.
        shift: By how many pixels at the most images are moved; None is the dataset's, or the preset's.
        flip: Whether images are mirrored at random; None is the dataset's.
        attack: What makes the images of a fine-tuning.
    """

    copies: int = 12
    tile: int = 1
    preset: str = AUTO
    tuned: bool = False
    upscale: int | None = None
    steps: int | None = None
    pretraining: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    ce_weight: float | None = None
    shift: int | None = None
    flip: bool | None = None
    attack: str = "fgsm"

    def length(self, setting: Setting, images: int) -> Length:
        """AToP's."""
        return self._as_atop().length(setting, images)

    def attacks_for(self, setting: Setting) -> tuple[str, ...]:
        """None without a fine-tuning."""
        return self._as_atop().attacks_for(setting)

    def build(self, setting: Setting, attacks: Mapping[str, TrainingAttack]) -> None:
        """Makes the networks and their optimisers.

        Raises:
            BenchError: An argument is out of range, no preset fits, or there is no classifier.
        """
        self._inner = self._as_atop()
        self._inner.build(setting, attacks)

    def modules(self) -> dict[str, nn.Module]:
        """Generator and discriminator."""
        return self._inner.modules()

    def optimizers(self) -> dict[str, Optimizer]:
        """One Adam for each."""
        return self._inner.optimizers()

    def step(self, x: Tensor, y: Tensor, *, step: int, draws: Draws) -> dict[str, float]:
        """One update of the discriminator, then one of the generator."""
        return self._inner.step(x, y, step=step, draws=draws)

    def product(self) -> dict[str, Tensor]:
        """The generator's weights."""
        return self._inner.product()

    def _as_atop(self) -> AToPRecipe:
        return AToPRecipe(
            transform=Kind.PIXELS,
            sigma=0.0,
            patch=self.tile,
            copies=self.copies,
            preset=self.preset,
            tuned=self.tuned,
            upscale=self.upscale,
            steps=self.steps,
            pretraining=self.pretraining,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            ce_weight=self.ce_weight,
            shift=self.shift,
            flip=self.flip,
            attack=self.attack,
        )
