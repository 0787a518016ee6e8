"""Gradients measured: in which modes a victim's gradients come, and which of them its answers confirm."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor

from benchmark.compute.memory import BatchLimit
from benchmark.compute.sandbox import fresh_global_state, sandboxed
from benchmark.contract.probe import NOBODYS, USUAL, Differences, ball_of
from benchmark.contract.sample import Sample
from benchmark.contract.slopes import DIRECTIONS, cosine_of, gradient_of, moves_of
from benchmark.engine.randomness import Draws
from benchmark.engine.victims.victim import GradientMode, Unaware, Victim, Vote
from benchmark.errors import BenchError
from benchmark.records.gradients import MeasuredGradient, MeasuredGradients

SAME = 0.999
"""The least cosine, on every image, of two gradients that are one: 1.0000 where one is the other, replayed."""
AT_ONCE = 8
"""Images of one gradient: a graph of operations that were recorded keeps all of their tensors."""
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
    asked = _Asked(sample)
    with sandboxed("measuring its gradients"):
        with fresh_global_state("slope"), torch.no_grad():
            y = asked.logits(asked.victim, asked.x, GradientMode.EXACT).argmax(1)
        steps, moved = moves_of(asked.victim, asked.x, y, asked.draws, asked.threat)
    modes: list[MeasuredGradient] = []
    found: dict[str, Tensor] = {}
    for mode in GradientMode:
        try:
            gradient = asked.gradient(mode, y)
        except BenchError as error:
            modes.append(MeasuredGradient(mode=mode.value, error=str(error)))
            continue
        same: Any = next((name for name, one in found.items() if _are_one(gradient, one)), "")
        found.setdefault(same or mode.value, gradient)
        modes.append(
            MeasuredGradient(
                mode=mode.value,
                same_as=same,
                zeros=float((gradient.flatten(1).abs().amax(1) == 0).double().mean()),
                slopes=next((e.slopes for e in modes if e.mode == same), None)
                or asked.slopes(mode),
                cosine=round(cosine_of(gradient, steps, moved), 6),
            )
        )
    is_moved = moved.norm(dim=1) > 0
    exact, bpda, recovered = modes
    return MeasuredGradients(
        images=len(y),
        moved=float(is_moved.double().mean()),
        floor=1 / math.sqrt(DIRECTIONS * max(1, int(is_moved.sum()))),
        modes=(exact, bpda, recovered),
    )


class _Asked:
    """A victim without its vote, and the images on which it is asked."""

    def __init__(self, sample: Sample) -> None:
        x = sample.images
        images = NOBODYS + torch.arange(len(x), device=x.device)
        self.draws = Draws.of(sample.seed, images, "gradients")
        self.victim = _unvoted(sample.victim)
        self.threat = ball_of(sample.stages[0][1].threat) if sample.stages else USUAL
        signs = (2.0 * self.draws.at("signs").integers(2, tuple(x.shape[1:])) - 1).to(x)
        moved = self.threat.project(x, x + self.threat.eps * self.threat.direction(signs))
        self.x = torch.where(
            (torch.arange(len(x)) % 2 == 1).to(x.device)[:, None, None, None], moved, x
        )
        self._sample = replace(sample, images=self.x)
        self._room = BatchLimit(len(x))

    def logits(self, victim: Victim, x: Tensor, mode: GradientMode) -> Tensor:
        """Of the images or such as have their draws, `(b, k)`, as many at once as memory allows."""

        def one_pass(at: Tensor) -> Tensor:
            part = x.narrow(0, int(at[0]), len(at))
            return victim.logits(part, draws=self.draws.take(at), mode=mode)

        return torch.cat([found for _, found in self._room.passes(len(x), one_pass, x.device)])

    def gradient(self, mode: GradientMode, y: Tensor) -> Tensor:
        """Of the margins of classes `(b,)`, `(b, c, h, w)`.

        Raises:
            BenchError: The victim breaks down, or it is not finite.
        """
        with sandboxed(f"asked for gradients ({mode}), it"):

            def one_pass(at: Tensor) -> Tensor:
                return gradient_of(self.victim, self.x[at], y[at], self.draws.take(at), mode)

            passes = BatchLimit(AT_ONCE).passes(len(y), one_pass, y.device)
            found = torch.cat([gradient for _, gradient in passes])
        if not bool(found.isfinite().all()):
            raise BenchError(f"asked for gradients ({mode}), it gives some that are not finite")
        return found

    @cached_property
    def _differences(self) -> tuple[Differences, Victim]:
        """Central differences of the logits in float64, taken once for all modes, and whose they are."""
        victim, x, _ = self._sample.finest()
        rounding = max((one.finest.rounding for one in self._sample.subjects()), default=0.0)
        asked = _unvoted(victim)
        logits = partial(self.logits, asked, mode=GradientMode.EXACT)
        return Differences(logits, x, self.draws, rounding=rounding, kinks=KINKS), asked

    def slopes(self, mode: GradientMode) -> float | None:
        """The share of points at which a mode's gradient is the derivative; None where it breaks down."""
        try:
            with sandboxed("its slopes"):
                differences, victim = self._differences
                slope = differences.hold(partial(self.logits, victim, mode=mode))
        except BenchError:
            return None
        return 0.0 if slope.is_flat else slope.agrees


def _unvoted(victim: Victim) -> Victim:
    inner = victim.inner if isinstance(victim, Unaware) else victim
    return inner.inner if isinstance(inner, Vote) else victim


def _are_one(gradient: Tensor, other: Tensor) -> bool:
    """Whether two gradients `(b, c, h, w)` point the same way on every image; none is zero on another's."""
    one, two = gradient.flatten(1).double(), other.flatten(1).double()
    length = one.norm(dim=1) * two.norm(dim=1)
    is_none = (one.abs().amax(1) == 0) & (two.abs().amax(1) == 0)
    return bool((is_none | ((one * two).sum(1) >= SAME * length) & (length > 0)).all())
