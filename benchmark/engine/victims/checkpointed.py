"""Many steps of one map, differentiable in bounded memory: a few iterates are kept, others computed again."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from benchmark.engine.victims.recovered import recovered, repeated

Step = Callable[[Tensor, int], Tensor]
"""`(x_k, k) -> x_{k+1}`, images `(b, c, h, w)`; the same however often it is asked, as draws named by k are."""

KEPT = 8
"""Iterates kept at once by default: 45 steps are then each computed four times in all at the most, 165 five."""


def iterated(step: Step, x: Tensor, steps: int, *, kept: int = KEPT) -> Tensor:
    """Steps from `x`, whose exact gradient takes memory for `kept` iterates and one step, however many.

    Without it autograd keeps the graph of every step, so that memory grows with their number, which long
    purification processes do not survive. Here the forward pass keeps no graph; the backward pass goes through
    the steps from the last to the first, each from an iterate that was kept or is computed again from the
    nearest one before it. Those kept lie where Griewank's binomial schedule puts them ("Achieving logarithmic
    growth of temporal and spatial complexity in reverse automatic differentiation", 1992, section 3): with
    `kept` of them, `(kept + r) over r` steps are reversed with r computations of a step at the most beside the
    one of the forward pass and the one whose graph is taken. Only the gradient in `x` is taken; weights are
    frozen.

    Args:
        step: One step. It may differentiate inside.
        x: Images `(b, c, h, w)`.
        steps: How many, at least 0.
        kept: Iterates kept at once, at least 1.

    Returns:
        The last iterate, with the graph that was described where gradients are enabled and `x` requires one.

    Raises:
        ValueError: `steps` or `kept` is too small.
    """
    if steps < 0 or kept < 1:
        raise ValueError(f"expected steps >= 0 and kept >= 1; got {steps} and {kept}")
    found = repeated(
        partial(_run, step, start=0, stop=steps),
        lambda twin: _Iterated.apply(twin, partial(_recovered_step, step), steps, kept),
        x,
    )
    if found is not None:
        return found
    if not (torch.is_grad_enabled() and x.requires_grad):
        return _run(step, x, 0, steps)
    out: Tensor = _Iterated.apply(x, step, steps, kept)
    return out


def _recovered_step(step: Step, x: Tensor, k: int) -> Tensor:
    """A step with the gradient that it may hide."""
    if not (torch.is_grad_enabled() and x.requires_grad):
        return step(x, k)
    return recovered(lambda y: step(y, k), x).images


class _Iterated(torch.autograd.Function):
    """All steps as one operation."""

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx, x: Tensor, step: Step, steps: int, kept: int
    ) -> Tensor:
        """The last iterate; keeps the first."""
        ctx.save_for_backward(x)
        ctx.plan = (step, steps, kept)  # type: ignore[attr-defined]
        return _run(step, x, 0, steps).clone()

    @staticmethod
    def backward(
        ctx: torch.autograd.function.FunctionCtx, *gradients: Tensor
    ) -> tuple[Tensor, None, None, None]:
        """The gradient in the first iterate."""
        (x,) = ctx.saved_tensors  # type: ignore[attr-defined]
        step, steps, kept = ctx.plan  # type: ignore[attr-defined]
        return _reversed(step, x.detach(), (0, steps), kept, gradients[0]), None, None, None


def _run(step: Step, x: Tensor, start: int, stop: int) -> Tensor:
    """Steps `start` to `stop` without a graph."""
    with torch.no_grad():
        for k in range(start, stop):
            x = step(x, k)
    return x


def _reversed(step: Step, x: Tensor, span: tuple[int, int], kept: int, gradient: Tensor) -> Tensor:
    """The gradient at the first iterate of a span of steps, for that at its last; `x` is the first iterate.

    `x` is one of the `kept`. The span is cut in two: the later part is reversed with one iterate fewer to keep,
    from the cut, which is then forgotten; the earlier part with all of them.
    """
    start, stop = span
    while stop - start > 1:
        cut = start + _cut(stop - start, kept)
        middle = _run(step, x, start, cut)
        gradient = _reversed(step, middle, (cut, stop), max(1, kept - 1), gradient)
        del middle
        stop = cut
    return _one(step, x, start, gradient) if stop > start else gradient


def _one(step: Step, x: Tensor, k: int, gradient: Tensor) -> Tensor:
    with torch.enable_grad():
        leaf = x.detach().requires_grad_()
        out = step(leaf, k)
        if not out.requires_grad:
            return torch.zeros_like(x)
        (found,) = torch.autograd.grad(out, leaf, gradient, allow_unused=True)
    return torch.zeros_like(x) if found is None else found


def _cut(length: int, kept: int) -> int:
    """Where to cut a span of at least 2 steps: the length of its earlier part, at least 1.

    With the fewest repetitions r that do, the later part is as long as one iterate fewer can reverse.
    """
    r = 1
    while math.comb(kept + r, r) < length:
        r += 1
    return max(1, length - math.comb(kept - 1 + r, r))
