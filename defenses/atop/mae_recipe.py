"""How the auto-encoder is trained: on clean images first, then on adversarial ones through the classifier."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional
from torch.optim import AdamW, Optimizer

from benchmark.engine.randomness import Draws
from benchmark.engine.victims.setting import Setting
from benchmark.recipe import TrainingAttack
from defenses.atop.augmentation import Augmentation
from defenses.atop.mae import Hiding
from defenses.atop.mae_network import PIXELS, MaskedAutoencoder
from defenses.atop.mae_presets import AUTO, MAEPreset, preset_for
from defenses.atop.resolution import resized, shape_at
from defenses.atop.two_phases import TwoPhases

WARM = 0.05
"""The share of the steps over which the learning rate rises."""


@dataclass(kw_only=True, eq=False, repr=False)
class MAERecipe(TwoPhases):
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

    sigma: float | None = None
    ratio: float | None = None
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
    through: str = "classifier"
    eot: int = 1

    def preset_of(self, setting: Setting) -> MAEPreset:
        """The auto-encoder's preset for images of that shape."""
        return preset_for(self.preset, shape_at(setting.shape, self.upscale))

    def build(self, setting: Setting, attacks: Mapping[str, TrainingAttack]) -> None:
        """Makes the auto-encoder and its optimiser.

        Raises:
            BenchError: An argument is out of range, no preset fits, or there is no classifier.
        """
        preset = self.preset_of(setting)
        self.plan(setting, attacks)
        self._hiding = Hiding.of(preset, sigma=self.sigma, ratio=self.ratio)
        self._augment = Augmentation.of(setting, shift=self.shift, flip=self.flip, otherwise=0)
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


def warmed_cosine(step: int, steps: int) -> float:
    """The share of the highest learning rate at a step: up in a straight line, then down as half a cosine."""
    warm = max(1, round(WARM * steps))
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))
