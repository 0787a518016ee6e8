"""Cramped victims: they run out of memory as a small GPU does, above so many rows or at random times."""

from __future__ import annotations

import random

import pytest
import torch
from torch import Tensor

import benchmark.compute.memory
from benchmark.engine.randomness import Draws
from benchmark.engine.victims.classifier import Classifier
from benchmark.engine.victims.victim import GradientMode, Victim


def run_out_of_memory() -> None:
    """What torch's own CPU allocator says, or CUDA's, where there is no such amount."""
    torch.empty(1 << 50)


def times_freed(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """One item each time that memory is freed; nothing is collected, which would take most of a test."""
    times: list[None] = []
    monkeypatch.setattr(benchmark.compute.memory, "free_memory", lambda: times.append(None))
    return times


class _Toll(torch.autograd.Function):
    """The identity, whose backward pass runs out of memory where it is told to."""

    @staticmethod
    def forward(ctx, x, is_too_much):
        ctx.is_too_much = is_too_much
        return x.view_as(x)

    @staticmethod
    def backward(ctx, gradient):
        if ctx.is_too_much(len(gradient)):
            run_out_of_memory()
        return gradient, None


class Cramped(Victim):
    """A victim that lacks memory.

    Args:
        inner: Who classifies.
        rows: At the most in one pass; more run out of memory.
        where: `forward`, `backward`, or `anywhere`: then at random times, at any number of rows above one.
    """

    def __init__(self, inner: Victim, *, rows: int = 1, where: str = "forward") -> None:
        super().__init__()
        self.inner = inner
        self.rows = rows
        self.where = where
        self.random = random.Random(5)
        self.failures = 0
        self.widest = 0
        """Rows of the widest forward pass that came to its end."""

    @property
    def stochastic(self) -> bool:
        return self.inner.stochastic

    @property
    def classifiers(self) -> list[Classifier]:
        return self.inner.classifiers

    def is_too_much(self, rows: int, place: str) -> bool:
        if self.where == "anywhere":
            fails = rows > 1 and (not self.failures or self.random.random() < 0.2)
        else:
            fails = place == self.where and rows > self.rows
        self.failures += fails
        return fails

    def bare_logits(self, x: Tensor) -> Tensor:
        if self.is_too_much(len(x), "forward"):
            run_out_of_memory()
        out: Tensor = _Toll.apply(
            self.inner.bare_logits(x), lambda rows: self.is_too_much(rows, "backward")
        )
        return out

    def logits(self, x: Tensor, *, draws: Draws, mode: GradientMode) -> Tensor:
        logits = self.inner.logits(x, draws=draws, mode=mode)
        if self.is_too_much(len(x), "forward"):
            run_out_of_memory()
        self.widest = max(self.widest, len(x))
        out: Tensor = _Toll.apply(logits, lambda rows: self.is_too_much(rows, "backward"))
        return out

    def auxiliary_loss(self, x: Tensor, *, draws: Draws, mode: GradientMode) -> Tensor:
        if self.is_too_much(len(x), "forward"):
            run_out_of_memory()
        return self.inner.auxiliary_loss(x, draws=draws, mode=mode)
