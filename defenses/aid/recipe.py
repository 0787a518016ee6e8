"""How AID-Purifier is trained: a discriminator that tells how much of an AVmixup image is clean."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional
from torch.optim import SGD

from benchmark.engine.randomness import Draws
from benchmark.engine.threat import Norm, Threat
from benchmark.engine.victims.setting import Setting
from benchmark.errors import BenchError
from benchmark.recipe import Length, NetworkRecipe, TrainingAttack, augmented, descend
from benchmark.registry import unknown
from defenses.aid.network import discriminator_for
from defenses.aid.presets import Preset, preset_for
from defenses.presets import AUTO, with_arguments

TARGETS = ("avmixup", "vertex", "mixup", "adversarial")
ATTACKS = ("pgd", "cw", "deepfool")


@dataclass(kw_only=True, eq=False, repr=False)
class AIDRecipe(NetworkRecipe):
    """`BCE(D(x_mix), lambda)` with `x_mix = lambda * x + (1 - lambda) * x_av`, lambda uniform for each image.

    `x_av = clip(x + gamma * (x_adv - x))` is the vertex of AVmixup (Lee, Lee and Yoon, "Adversarial vertex
    mixup", CVPR 2020, Eqs. 7 and 8), without its label smoothing; `x_adv` is made on the bare classifier with
    true labels. Only D is updated.

    Args:
        preset: Hyper-parameters; `auto` takes those of the dataset.
        taps: Positions in the classifier at which D looks; None is the preset's.
        network: `code` (batch norm), or `paper` (none).
        target: What D learns to tell apart: `avmixup`; `vertex`, x or x_av unmixed, with labels 1 and 0;
            `mixup`, mixed with x_adv itself; `adversarial`, x or x_adv unmixed.
        attack: What makes x_adv: `pgd`, `cw` (in the l2 ball of the same root mean square change as the linf
            budget's corners), or `deepfool`.
        attack_steps: Of the attack.
        train_eps: Its linf budget, in pixel units of [0, 1]; None is the preset's.
        train_step: Its step, for `pgd`; None is the preset's.
        gamma: See above; None is the preset's.
        augment: Whether images are moved and mirrored as the preset says.
        epochs: How often each training image is seen; None is the preset's.
        steps: Optimiser steps instead of epochs.
        batch_size: Images in a step.
        learning_rate: Of SGD with momentum .9 and weight decay 2e-4, constant; None is the preset's.
    """

    preset: str = AUTO
    taps: Sequence[str] | None = None
    network: str = "code"
    target: str = "avmixup"
    attack: str = "pgd"
    attack_steps: int = 10
    train_eps: float | None = None
    train_step: float | None = None
    gamma: float | None = None
    augment: bool = True
    epochs: int | None = None
    steps: int | None = None
    batch_size: int = 128
    learning_rate: float | None = None

    def length(self, setting: Setting, images: int) -> Length:
        """So many epochs of whole batches, unless `steps` says it."""
        steps = self._preset(setting).epochs * max(1, images // max(1, self.batch_size))
        return Length(steps if self.steps is None else self.steps, self.batch_size)

    def attacks_for(self, setting: Setting) -> Sequence[str]:
        """The one attack, with its arguments."""
        if self.attack not in ATTACKS:
            raise unknown("training attack of aid", self.attack, ATTACKS)
        n = self.attack_steps
        if self.attack == "cw":
            return (f"cw(steps={n}, binary_search_steps=1, initial_const=0.01)",)
        if self.attack == "deepfool":
            return (f"deepfool(steps={n})",)
        preset = self._preset(setting)
        step = preset.train_step
        if step is None:
            step = preset.budget(setting.threat) / 4
        return (f"pgd(steps={n}, step_size={step!r}, step_unit='pixel', keep='last')",)

    def build(self, setting: Setting, attacks: Mapping[str, TrainingAttack]) -> None:
        """Makes the discriminator and its optimiser."""
        if self.target not in TARGETS:
            raise unknown("training target of aid", self.target, TARGETS)
        preset = self._preset(setting)
        self._gamma = self._reach(preset)
        self._shift, self._flips = (preset.shift, preset.flips) if self.augment else (0, False)
        self._classifier = setting.defended()
        (text,) = self.attacks_for(setting)
        self._attack = attacks[text]
        self._threat = self._budget(preset, setting)
        self._eye, self._network = discriminator_for(setting, preset, network=self.network)
        self._optimizer = SGD(
            self._network.parameters(), lr=preset.learning_rate, momentum=0.9, weight_decay=2e-4
        )

    def step(self, x: Tensor, y: Tensor, *, step: int, draws: Draws) -> dict[str, float]:
        """One update of the discriminator."""
        del step
        x = augmented(x, shift=self._shift, flip=self._flips, draws=draws)
        x_adv = self._attack(self._classifier, x, y, draws.at("attack"), threat=self._threat)
        λ = draws.at("mix").uniform((), dtype=x.dtype)  # (b,)
        if self.target in ("vertex", "adversarial"):
            λ = λ.round()
        with torch.no_grad():
            pooled = self._eye(mixed(x, x_adv, λ, gamma=self._gamma))
        self._network.train()
        logits = self._network(pooled).to(x.dtype)  # autocast may give bfloat16
        loss = functional.binary_cross_entropy_with_logits(logits, λ)
        descend(self._optimizer, loss)
        right = ((logits.detach() > 0) == (λ > 0.5)).to(x.dtype).mean()
        return {"bce": float(loss.detach()), "accuracy": float(right)}

    def _preset(self, setting: Setting) -> Preset:
        names = ("taps", "train_eps", "train_step", "gamma", "epochs", "learning_rate")
        preset = preset_for(self.preset, setting.shape, setting.dataset)
        return with_arguments(preset, self, *names)

    def _reach(self, preset: Preset) -> float:
        if self.target in ("mixup", "adversarial"):
            return 1.0
        if not preset.gamma > 0:
            raise BenchError(f"aid's gamma is above 0; got {preset.gamma!r}")
        return preset.gamma

    def _budget(self, preset: Preset, setting: Setting) -> Threat:
        eps = preset.budget(setting.threat)
        if self.attack == "cw":
            return Threat(Norm.L2, eps * math.sqrt(math.prod(setting.shape)))
        return Threat(Norm.LINF, eps)


def mixed(x: Tensor, x_adv: Tensor, λ: Tensor, *, gamma: float) -> Tensor:
    """`lambda * x + (1 - lambda) * clip(x + gamma * (x_adv - x))` of images `(b, c, h, w)`, lambda `(b,)`."""
    x_av = (x + gamma * (x_adv - x)).clamp(0.0, 1.0)
    share = λ.view(-1, 1, 1, 1)
    return share * x + (1 - share) * x_av
