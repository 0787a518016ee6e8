"""Gradients measured: in which modes a victim's gradients come, and which of them its answers confirm."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmark.compute.sandbox import sandboxed
from benchmark.contract.probe import NOBODYS, USUAL, Differences, ball_of
from benchmark.contract.sample import Sample
from benchmark.contract.slopes import DIRECTIONS, cosine_of, gradient_of, moves_of
from benchmark.engine.randomness import Draws
from benchmark.engine.victims.victim import GradientMode, Victim, Vote
from benchmark.errors import BenchError
from benchmark.records.gradients import MeasuredGradient, MeasuredGradients

SAME = 0.999
"""The least cosine, on every image, of two gradients that are one: 1.0000 where one is the other, replayed."""
KINKS = 1e-2
"""How far a slope of the logits may lie from the derivative, relative to its length: a deep network has so many
kinks that a step crosses some."""


def measured(sample: Sample) -> MeasuredGradients:
    """Every gradient mode of a victim, held against the others and against its answers.

    Half of the images are moved by random signs of the whole budget, since a purifier may do other things
    there. A victim that votes is asked without its vote, which has no slope.

    Raises:
        BenchError: It breaks down without a gradient.
    """
    victim, x = _asked(sample.victim), sample.images
    draws = Draws.of(sample.seed, NOBODYS + torch.arange(len(x), device=x.device), "gradients")
    threat = ball_of(sample.stages[0][1].threat) if sample.stages else USUAL
    signs = (2.0 * draws.at("signs").integers(2, tuple(x.shape[1:])) - 1).to(x)
    x = x.clone()
    x[1::2] = threat.project(x, x + threat.eps * threat.direction(signs))[1::2]
    with sandboxed("measuring its gradients"):
        with torch.no_grad():
            y = victim.logits(x, draws=draws, mode=GradientMode.EXACT).argmax(1)
        steps, moved = moves_of(victim, x, y, draws, threat)
    found: list[tuple[str, Tensor]] = []
    modes: list[MeasuredGradient] = []
    slopes = None
    for mode in GradientMode:
        try:
            with sandboxed(f"asked for gradients ({mode}), it"):
                gradient = gradient_of(victim, x, y, draws, mode)
                if not bool(gradient.isfinite().all()):
                    raise BenchError("its gradient is not finite")
        except BenchError as error:
            modes.append(MeasuredGradient(mode=mode.value, error=str(error)))
            continue
        zeros = float((gradient.flatten(1).abs().amax(1) == 0).double().mean())
        same: Any = next((name for name, other in found if _are_one(gradient, other)), "")
        if same:
            agrees = next(each.slopes for each in modes if each.mode == same)
        else:
            found.append((mode.value, gradient))
            slopes = slopes or _Slopes(replace(sample, images=x), draws)
            agrees = slopes.of(mode)
        modes.append(
            MeasuredGradient(
                mode=mode.value,
                same_as=same,
                zeros=zeros,
                slopes=agrees,
                cosine=round(cosine_of(gradient, steps, moved), 6),
            )
        )
    is_moved = moved.norm(dim=1) > 0
    exact, bpda, recovered = modes
    return MeasuredGradients(
        images=len(x),
        moved=float(is_moved.double().mean()),
        floor=1 / math.sqrt(DIRECTIONS * max(1, int(is_moved.sum()))),
        modes=(exact, bpda, recovered),
    )


def _asked(victim: Victim) -> Victim:
    return victim.inner if isinstance(victim, Vote) else victim


def _are_one(gradient: Tensor, other: Tensor) -> bool:
    """Whether two gradients `(b, c, h, w)` point the same way on every image; none is zero on another's."""
    one, two = gradient.flatten(1).double(), other.flatten(1).double()
    length = one.norm(dim=1) * two.norm(dim=1)
    is_none = (one.abs().amax(1) == 0) & (two.abs().amax(1) == 0)
    return bool((is_none | ((one * two).sum(1) >= SAME * length) & (length > 0)).all())


class _Slopes:
    """Central differences of a victim's logits in float64, taken once for all modes."""

    def __init__(self, sample: Sample, draws: Draws) -> None:
        victim, x, self.where = sample.finest()
        self._victim, self._draws = _asked(victim), draws
        rounding = max((subject.finest.rounding for subject in sample.subjects()), default=0.0)
        self._differences = Differences(
            self._logits(GradientMode.EXACT), x, draws, rounding=rounding, kinks=KINKS
        )

    def _logits(self, mode: GradientMode) -> Callable[[Tensor], Tensor]:
        return partial(self._victim.logits, draws=self._draws, mode=mode)

    def of(self, mode: GradientMode) -> float | None:
        """The share of points at which a mode's gradient is the derivative; None where it breaks down."""
        try:
            with sandboxed("its slopes"):
                slope = self._differences.hold(self._logits(mode))
        except BenchError:
            return None
        return 0.0 if slope.is_flat else slope.agrees
