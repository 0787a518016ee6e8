"""Victims as they are asked before a run: a copy of the images, seeded generators, answers compared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from benchmark.compute.memory import BatchLimit
from benchmark.compute.sandbox import fresh_global_state
from benchmark.engine.randomness import Draws
from benchmark.engine.victims.acceptance import refuse
from benchmark.engine.victims.victim import GradientMode, Victim

MOVED = 0.25
"""The share of images whose logits may move by more than `ROUNDED` where only float32 can be asked: steps by
the sign of a gradient make much of rounding (AID-Purifier moved 6 of 64 images between two kernels)."""


@dataclass(frozen=True, kw_only=True)
class Examinee:
    """A victim that is asked before a run begins.

    Args:
        victim: The defended classifier, as it is attacked.
        what: What a message calls it.
        x: A few clean images `(b, c, h, w)` in [0, 1], at least two.
        draws: Of these images.
        modes: The gradient modes in which the run asks it.
        batch: Rows in one pass of the run.
        classes: Of the dataset.
        made: Makes the same victim anew in a precision.
    """

    victim: Victim
    what: str
    x: Tensor
    draws: Draws
    modes: tuple[GradientMode, ...]
    batch: int
    classes: int
    made: Callable[[torch.dtype], Victim]


@dataclass(frozen=True)
class ProbedVictim:
    """A victim with images off the clamps, and how finely its answers are compared.

    Args:
        exhibit: What it is, and what it is asked about.
        victim: In the precision of the run, or the same in float64.
        x: The images in that precision, off the clamps.
        tolerance: Logits no farther apart, relative to the range of all, are the same.
        allowed: The share of images that may move all the same.
    """

    exhibit: Examinee
    victim: Victim
    x: Tensor
    tolerance: float
    allowed: float

    def ask(
        self,
        x: Tensor | None = None,
        draws: Draws | None = None,
        *,
        place: int = 0,
        mode: GradientMode | None = None,
    ) -> Tensor:
        """Logits `(b, k)`, without a graph.

        Args:
            x: Images; its own by default. The victim is given a copy.
            draws: Their draws; its own by default.
            place: What the global generators are seeded by.
            mode: With gradients, in this mode; None for without.

        Raises:
            ContractBroken: It changed the images.
        """
        x = self.x if x is None else x
        draws = self.exhibit.draws if draws is None else draws

        def one_pass(part: Tensor) -> Tensor:
            shown = x[part].clone().requires_grad_(mode is not None)
            with torch.set_grad_enabled(mode is not None):
                logits = self.victim.logits(
                    shown, draws=draws.take(part), mode=mode or GradientMode.EXACT
                )
            if not torch.equal(shown.detach(), x[part]):
                refuse(
                    self.exhibit.what,
                    "changes the images that it is given, in place",
                    "start from x.clone()",
                )
            return logits.detach()

        with fresh_global_state("conduct", place):
            found = list(BatchLimit(len(x)).passes(len(x), one_pass, x.device))
        return torch.cat([logits for _, logits in found])

    @cached_property
    def first(self) -> Tensor:
        """Its answers, `(b, k)`."""
        return self.ask()

    def moved(self, one: Tensor, other: Tensor, tolerance: float | None = None) -> Tensor:
        """Which answers differ, `(b,)` bool; NaN does."""
        span = float(self.first.max() - self.first.min()) or 1.0
        apart = (one.double() - other.double()).abs().amax(1)
        return ~(apart <= span * (self.tolerance if tolerance is None else tolerance))

    def differs(self, one: Tensor, other: Tensor) -> bool:
        """Whether more answers differ than may."""
        return float(self.moved(one, other).double().mean()) > self.allowed
