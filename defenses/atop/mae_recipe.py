"""How the auto-encoder is trained: on clean images first, then on adversarial ones through the classifier."""

from __future__ import annotations

import math
from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn import functional
from torch.optim import AdamW, Optimizer

from benchmark.classifier import Classifier
from benchmark.randomness import Draws
from benchmark.recipe import Length, Recipe, TrainingAttack
from benchmark.setting import Setting
from defenses.atop.augmentation import Augmentation
from defenses.atop.mae import Hiding
from defenses.atop.mae_network import PIXELS, MaskedAutoencoder
from defenses.atop.mae_presets import AUTO, MAEPreset, preset_for
from defenses.atop.pipeline import Crafter
from defenses.atop.recipe import pretraining_of
from defenses.atop.resolution import resized, shape_at

WARM = 0.05
"""The share of the steps over which the learning rate rises."""


class MAERecipe(Recipe):
    """Pre-training on clean images, then AToP's fine-tuning on FGSM images (Lin et al., ICLR 2024).

    Both phases minimise `MSE(rec(x' + sigma * n), x')` over all patches, hidden or shown, of images scaled to
    [-1, 1]; the second adds `ce_weight * CE(F(rec(...)), y)`. In the first x' is the clean image, in the
    second FGSM's on the bare classifier. AdamW with betas .9 and .95 and weight decay .05; the learning rate
    rises in a straight line and falls as a cosine, over both phases together (Wu et al., ICLR 2023, appendix).

    Args:
        sigma: Standard deviation of the noise; None is the preset's.
        ratio: Share of the patches that are hidden; None is the preset's.
        preset: Size of the networks; `auto` takes the one that is made for the images' shape.
        tuned: Whether there is a fine-tuning; without, all steps are pre-training.
        upscale: Height and width at which images are purified; None is their own.
        steps: Optimiser steps in all; None is the preset's.
        pretraining: How many of them come before fine-tuning; None is the preset's share.
        batch_size: Images in a step; None is the preset's.
        learning_rate: Of AdamW at its highest; None is the preset's.
        ce_weight: Lambda; None is the preset's.
        shift: By how many pixels at the most images are moved, each way; None is the dataset's.
        flip: Whether images are mirrored at random; None is the dataset's.
        attack: What makes x' in fine-tuning: an attack's name, with arguments or without, as `pgd(steps=10)`.
        through: What is attacked: the bare `classifier`, as in the paper, or the whole `pipeline` as it stands.
        eot: Draws over which the pipeline's logits are averaged for the attack.
    """

    def __init__(
        self,
        *,
        sigma: float | None = None,
        ratio: float | None = None,
        preset: str = AUTO,
        tuned: bool = True,
        upscale: int | None = None,
        steps: int | None = None,
        pretraining: int | None = None,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        ce_weight: float | None = None,
        shift: int | None = None,
        flip: bool | None = None,
        attack: str = "fgsm",
        through: str = "classifier",
        eot: int = 1,
    ) -> None:
        self.sigma = sigma
        self.ratio = ratio
        self.preset = preset
        self.tuned = tuned
        self.upscale = upscale
        self.steps = steps
        self.pretraining = pretraining
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.ce_weight = ce_weight
        self.shift = shift
        self.flip = flip
        self.attack = attack
        self.through = through
        self.eot = eot

    def length(self, setting: Setting, images: int) -> Length:
        """The preset's steps and batch where they are not given."""
        del images
        preset = self._preset_of(setting)
        steps = preset.steps if self.steps is None else self.steps
        return Length(steps, preset.batch_size if self.batch_size is None else self.batch_size)

    def attacks_for(self, setting: Setting) -> tuple[str, ...]:
        """The one that fine-tuning is made against."""
        del setting
        return (self.attack,) if self.tuned else ()

    def build(self, setting: Setting, attacks: Mapping[str, TrainingAttack]) -> None:
        """Makes the auto-encoder and its optimiser.

        Raises:
            BenchError: An argument is out of range, no preset fits, or there is no classifier.
        """
        preset = self._preset_of(setting)
        self._shape = shape_at(setting.shape, self.upscale)
        self._hiding = Hiding.of(preset, sigma=self.sigma, ratio=self.ratio)
        self._steps = self.length(setting, 0).steps
        self._pretraining = pretraining_of(
            self._steps,
            self.pretraining if self.tuned else self._steps,
            share=preset.pretraining / preset.steps,
        )
        self._rate = preset.learning_rate if self.learning_rate is None else self.learning_rate
        self._ce_weight = preset.ce_weight if self.ce_weight is None else self.ce_weight
        self._augment = Augmentation.of(setting, shift=self.shift, flip=self.flip, otherwise=0)
        self._classifier: Classifier = setting.defended()
        if self.tuned:
            self._craft = Crafter(
                attacks,
                attack=self.attack,
                through=self.through,
                eot=self.eot,
                classifier=self._classifier,
            )
        network = MaskedAutoencoder(setting.shape[0], preset)
        self._network = network.to(setting.device, setting.dtype)
        self._adam = AdamW(
            self._network.parameters(), lr=self._rate, betas=(0.9, 0.95), weight_decay=0.05
        )

    def modules(self) -> dict[str, nn.Module]:
        """The auto-encoder."""
        return {"autoencoder": self._network}

    def optimizers(self) -> dict[str, Optimizer]:
        """Its AdamW."""
        return {"autoencoder": self._adam}

    def step(self, x: Tensor, y: Tensor, *, step: int, draws: Draws) -> dict[str, float]:
        """One update."""
        for group in self._adam.param_groups:
            group["lr"] = self._rate * warmed_cosine(step, self._steps)
        x = self._augment(x, draws=draws)
        is_tuning = step >= self._pretraining
        shown = self._craft(self._purify, x, y, draws.at("attack")) if is_tuning else x
        wanted = resized(shown, self._shape)
        painted = self._network(*self._hiding(wanted, draws=draws.at("transform")))
        parts = {"mse": PIXELS**2 * functional.mse_loss(painted, wanted)}
        total = parts["mse"]
        if is_tuning:
            logits = self._classifier(resized(painted, x.shape))
            parts["ce"] = functional.cross_entropy(logits, y)
            total = total + self._ce_weight * parts["ce"]
        self._adam.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        self._adam.step()
        return {name: float(part.detach()) for name, part in parts.items()}

    def product(self) -> dict[str, Tensor]:
        """The auto-encoder's weights."""
        return dict(self._network.state_dict())

    def _purify(self, x: Tensor, draws: Draws) -> Tensor:
        """What the auto-encoder makes of images as it stands."""
        noisy, shown = self._hiding(resized(x, self._shape), draws=draws)
        return resized(self._network(noisy, shown), x.shape)

    def _preset_of(self, setting: Setting) -> MAEPreset:
        return preset_for(self.preset, shape_at(setting.shape, self.upscale))


def warmed_cosine(step: int, steps: int) -> float:
    """The share of the highest learning rate at a step: up in a straight line, then down as half a cosine."""
    warm = max(1, round(WARM * steps))
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))
