"""Frozen draws: PGD on a random victim whose noise stands still, to learn what randomness alone does."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from benchmark.engine.attacking.attack import Attack, Passes
from benchmark.engine.attacking.target import Target
from benchmark.engine.randomness import Draws
from benchmark.engine.threat import Threat
from benchmark.engine.victims.classifier import Classifier
from benchmark.engine.victims.victim import GradientMode, Victim
from benchmark.errors import BenchError
from benchmark.plugins import ATTACKS


@dataclass(kw_only=True, eq=False, repr=False)
class FrozenDraw(Attack):
    """PGD, margin loss, at one draw an image, which the attacker knows and the defender keeps.

    A diagnosis, never a verdict: its own word, the last point of its trace, is the accuracy at that very draw;
    its images are judged on fresh draws like any others. What lies between the two numbers is what randomness
    alone gives, and between the first one and clean accuracy what the purifier does without it.

    Args:
        steps: Of PGD.
        step_size: Length of one step, as a share of eps.
    """

    name = "frozen-draw"
    mixes = False
    parts = ("pgd",)

    steps: int = 40
    step_size: float = 0.1

    def perturb(
        self, target: Target, x: Tensor, y: Tensor, *, threat: Threat, draws: Draws
    ) -> Tensor:
        """One image for each, `(b, 1, c, h, w)`; marks the accuracy at the fixed draw.

        Raises:
            BenchError: An argument is none that PGD takes.
        """
        inner = target.within(_Still(target.victim, draws.path))
        x_adv = self._pgd()(inner, x, y, threat=threat, draws=draws)
        right = inner.predict(x_adv[:, 0], draws=draws).argmax(1) == y
        target.count(inner)
        target.mark(float(right.double().mean()))
        return x_adv

    def passes(self, *, classes: int, shape: tuple[int, int, int], **_: object) -> Passes:
        """PGD's on a deterministic victim, and one look at what it found."""
        inner = self._pgd().passes(classes=classes, eot=1, stochastic=False, shape=shape)
        if inner is None:
            raise BenchError("attack 'pgd' does not say how many passes it makes; it must")
        return Passes(forwards=inner.forwards + 1, backwards=inner.backwards)

    def _pgd(self) -> Attack:
        arguments = {"steps": self.steps, "step_size": self.step_size, "loss": "margin"}
        return ATTACKS.get("pgd")(**arguments)


class _Still(Victim):
    """A victim that meets each image with one and the same draw, wherever it is asked.

    Args:
        inner: The victim.
        path: The place at which its draws are made.
    """

    def __init__(self, inner: Victim, path: tuple[str | int, ...]) -> None:
        super().__init__(mode=inner.mode)
        self.inner = inner
        self.path = path

    @property
    def stochastic(self) -> bool:
        """No more."""
        return False

    @property
    def classifiers(self) -> list[Classifier]:
        """Those of the victim inside."""
        return self.inner.classifiers

    def logits(self, x: Tensor, *, draws: Draws, mode: GradientMode) -> Tensor:
        """Logits `(b, k)` at the fixed draw of each row's image."""
        return self.inner.logits(x, draws=self._fixed(draws), mode=mode)

    def bare_logits(self, x: Tensor) -> Tensor:
        """Those of the victim inside, `(b, k)`."""
        return self.inner.bare_logits(x)

    def auxiliary_loss(self, x: Tensor, *, draws: Draws, mode: GradientMode) -> Tensor:
        """The loss `(b,)` at the fixed draw of each row's image."""
        return self.inner.auxiliary_loss(x, draws=self._fixed(draws), mode=mode)

    def _fixed(self, draws: Draws) -> Draws:
        return Draws(draws.seed, draws.images, torch.zeros_like(draws.rows), (*self.path, "frozen"))
