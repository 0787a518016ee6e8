"""Frozen draws: PGD on a random victim whose noise stands still, to learn what randomness alone does."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from benchmark.engine.attacking.attack import Attack, Passes
from benchmark.engine.attacking.target import Target
from benchmark.engine.randomness import Draws
from benchmark.engine.threat import Threat
from benchmark.engine.victims.victim import KnownDraw
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
        inner = target.within(KnownDraw(target.victim, (*draws.path, "frozen")))
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
