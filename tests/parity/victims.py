"""A victim as a library has it that knows nothing of draws: one draw a call, or a mean over several."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from benchmark.engine.randomness import Draws
from benchmark.engine.victims.defense import Derivative
from benchmark.engine.victims.victim import Around, GradientMode, Victim
from benchmark.evaluation.prepare.prepare import Prepared


class MeanOfDraws(Around):
    """A random victim whose logits are the mean over k draws (EOT: Athalye et al., ICML 2018, section 4.1).

    Args:
        inner: The victim.
        k: How many draws.
        mode: How gradients go through its purifiers.
        seed: Of its draws.
        is_steady: Whether each call and each row meets the same draws. An attack that asks for decisions alone
            walks along a boundary, and breaks off where an image is on either side of it from call to call.
    """

    def __init__(
        self, inner: Victim, k: int, *, mode: GradientMode, seed: int, is_steady: bool
    ) -> None:
        super().__init__(inner, mode=mode)
        self.k = k
        self.seed = seed
        self.is_steady = is_steady

    def forward(self, x: Tensor) -> Tensor:
        """Mean logits `(b, classes)`."""
        rows = torch.arange(len(x), device=x.device)
        call = 0 if self.is_steady else self._calls
        draws = Draws.of(self.seed, rows * (not self.is_steady), "parity", call).repeat(self.k)
        self._calls += 1
        logits = self.logits(x.repeat_interleave(self.k, 0), draws=draws, mode=self.mode)
        return logits.view(len(x), self.k, -1).mean(1)


@dataclass(frozen=True, slots=True)
class Handed:
    """What libraries are given of a victim.

    Args:
        gradients: For attacks that follow a gradient: new draws at each call.
        decisions: For those that ask for logits or labels alone: the same draws at each call.
    """

    gradients: MeanOfDraws
    decisions: MeanOfDraws


def handed(ready: Prepared, *, eot: int, seed: int, mode: GradientMode | None = None) -> Handed:
    """A victim for libraries; of a random one the mean over `eot` draws, and where decided over as many.

    Args:
        ready: The victim, made again.
        eot: Draws over which logits are averaged, of a random victim.
        seed: Of these draws.
        mode: How gradients go through its purifiers; None for exact, and recovered where they offer none.
    """
    mode = mode or (
        GradientMode.RECOVERED if ready.gradient is Derivative.NONE else GradientMode.EXACT
    )
    k = eot if ready.is_stochastic else 1
    gradients, decisions = (
        MeanOfDraws(ready.victim, k, mode=mode, seed=seed, is_steady=steady)
        for steady in (False, True)
    )
    return Handed(gradients, decisions)
