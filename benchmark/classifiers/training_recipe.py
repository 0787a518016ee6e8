"""How this project's small classifiers are trained: naturally, or on adversarial images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.optim import AdamW

from benchmark.classifiers.catalog import CLASSIFIERS
from benchmark.engine.randomness import Draws
from benchmark.engine.victims.setting import Setting
from benchmark.recipe import NetworkRecipe, TrainingAttack, descend, mirrored, one_cycle, shifted


@dataclass(kw_only=True, eq=False, repr=False)
class ClassifierRecipe(NetworkRecipe):
    """Cross-entropy by AdamW with a one-cycle learning rate, on randomly shifted images.

    Args:
        classifier: The name of a classifier with a network of its own.
        steps: Optimiser steps.
        batch_size: Images a step.
        rate: The greatest learning rate, reached after a tenth of the steps, then falling as a cosine to 0.
        weight_decay: AdamW's.
        shift: Pixels by which an image may move in each direction.
        is_mirrored: Whether every other image, by chance, is seen as in a mirror.
    """

    classifier: str
    steps: int
    batch_size: int = 128
    rate: float = 3e-3
    weight_decay: float = 1e-2
    shift: int = 1
    is_mirrored: bool = False

    def build(self, setting: Setting, attacks: Mapping[str, TrainingAttack]) -> None:
        """Makes the network and its optimiser."""
        del attacks
        network = CLASSIFIERS.get(self.classifier)().network()
        self.network = self._network = network.to(setting.device, setting.dtype).train()
        self._optimizer = AdamW(
            self._network.parameters(), lr=self.rate, weight_decay=self.weight_decay
        )

    def step(self, x: Tensor, y: Tensor, *, step: int, draws: Draws) -> dict[str, float]:
        """One update on images `(b, c, h, w)`, shifted first."""
        return self.update(self.augmented(x, draws), y, step=step)

    def augmented(self, x: Tensor, draws: Draws) -> Tensor:
        """Images `(b, c, h, w)`, shifted, and mirrored where that is asked for."""
        x = shifted(x, self.shift, draws=draws.at("shift"))
        return mirrored(x, draws=draws.at("mirror")) if self.is_mirrored else x

    def update(self, x: Tensor, y: Tensor, *, step: int) -> dict[str, float]:
        """One update on images `(b, c, h, w)` as they are."""
        self._network.train()
        logits = self._network(x)
        loss = cross_entropy(logits, y)
        descend(
            self._optimizer,
            loss,
            rate=one_cycle(step, self.steps, self.rate, rise=self.steps // 10),
        )
        wrong = (logits.detach().argmax(1) != y).float().mean()
        return {"cross_entropy": loss.item(), "error": wrong.item()}


class AdversarialRecipe(NetworkRecipe):
    """Adversarial training (Madry et al., ICLR 2018, Eq. 2.1): a recipe's updates on attacked images alone.

    The attack sees the network in eval mode, inside the setting's threat.
    """

    attacks = ("pgd(steps=10)",)

    def __init__(self, *, inner: ClassifierRecipe) -> None:
        self.inner = inner
        self.steps = inner.steps
        self.batch_size = inner.batch_size

    def build(self, setting: Setting, attacks: Mapping[str, TrainingAttack]) -> None:
        """Makes the network and its optimiser, and keeps the attack."""
        self.attack = attacks[self.attacks[0]]
        self.inner.build(setting, {})
        self._network = self.inner.modules()["network"]
        self._optimizer = self.inner.optimizers()["optimizer"]

    def step(self, x: Tensor, y: Tensor, *, step: int, draws: Draws) -> dict[str, float]:
        """One update on images `(b, c, h, w)`, shifted and then attacked."""
        x = self.inner.augmented(x, draws)
        self._network.eval()
        x_adv = self.attack(self._network, x, y, draws.at("attack"))
        return self.inner.update(x_adv, y, step=step)
