"""A defense under examination, and what can be measured on it."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from benchmark.defense import Defense
from benchmark.purified import Purified
from benchmark.randomness import Draws
from benchmark.setting import Setting
from benchmark.victim import GradientMode

STEPS = (1e-5, 1e-6, 1e-7)
"""Step lengths of finite differences; a point agrees when one of them does (a step may cross a kink)."""
DIRECTIONS = 4
"""Random directions in which each image's derivative is taken."""


class Subject:
    """A defense under examination, with the images it is shown.

    Args:
        defense: Prepared with `setting`.
        setting: In float32, with its classifier.
        images: `(b, c, h, w)` in [0, 1], at least two of them.
        seed: Of all draws.
    """

    def __init__(self, defense: Defense, setting: Setting, images: Tensor, seed: int) -> None:
        self.defense = defense
        self.setting = setting
        self.images = images.to(setting.device, setting.dtype)
        self.draws = Draws.of(seed, torch.arange(len(images), device=setting.device), "check")
        self.other = replace(self.draws, seed=seed + 1)

    @cached_property
    def double(self) -> Subject:
        """The same defense in float64, on images that lie off the clamps and off each other's grid."""
        setting = replace(
            self.setting,
            dtype=torch.float64,
            classifier=copy.deepcopy(self.setting.defended()).to(torch.float64),
        )
        jitter = self.draws.at("jitter").uniform(tuple(self.images.shape[1:]), dtype=torch.float64)
        images = 0.1 + 0.75 * self.images.double() + 0.05 * jitter
        return Subject(rebuilt(self.defense, setting), setting, images, self.draws.seed)

    def victim(self, *, is_checkpointed: bool = False) -> Purified:
        """The defense before its classifier."""
        return Purified([self.defense], self.setting.defended(), is_checkpointed=is_checkpointed)

    def purify(self, x: Tensor | None = None, draws: Draws | None = None) -> Tensor:
        """Purified images without gradients; of the subject's own images and draws by default."""
        with torch.no_grad():
            return self.victim().purify(
                self.images if x is None else x,
                draws=self.draws if draws is None else draws,
                mode=GradientMode.EXACT,
            )


def rebuilt(defense: Defense, setting: Setting) -> Defense:
    """A new defense from the arguments of another, prepared."""
    twin = type(defense)(**defense.arguments())
    twin.prepare(setting)
    return twin


def gradient_of(subject: Subject, cotangent: Tensor, *, is_checkpointed: bool) -> Tensor | None:
    """The gradient of `(cotangent * purify(x)).sum()`, `(b, c, h, w)`; None where there is no graph."""
    x = subject.images.clone().requires_grad_()
    with torch.enable_grad():
        out = subject.victim(is_checkpointed=is_checkpointed).purify(
            x, draws=subject.draws, mode=GradientMode.EXACT
        )
        if not out.requires_grad:
            return None
        (gradient,) = torch.autograd.grad((cotangent * out).sum(), x, allow_unused=True)
    return gradient


def agreement(subject: Subject, cotangent: Tensor, gradient: Tensor) -> float:
    """The share of (image, direction) at which a gradient is the derivative."""
    x, shape = subject.images, tuple(subject.images.shape[1:])

    def value(at: Tensor) -> Tensor:
        return (cotangent * subject.purify(at)).flatten(1).sum(1)

    found = []
    for i in range(DIRECTIONS):
        v = subject.draws.at("direction", i).normal(shape, dtype=x.dtype)
        expected = (gradient * v).flatten(1).sum(1)
        close = torch.zeros_like(expected, dtype=torch.bool)
        for h in STEPS:
            slope = (value(x + h * v) - value(x - h * v)) / (2 * h)
            close |= torch.isclose(slope, expected, rtol=1e-4, atol=1e-6)
        found.append(close)
    return float(torch.cat(found).double().mean())


def autograd_of(twin: Subject) -> tuple[float | None, bool]:
    """How autograd through a purifier, in float64, fares against central differences at frozen draws.

    Returns:
        The share of points at which it is the derivative, None where it does not reach the input; and whether
        it is 0 everywhere although the output changes.
    """
    shape = tuple(twin.images.shape[1:])
    cotangent = twin.draws.at("cotangent").normal(shape, dtype=torch.float64)
    gradient = gradient_of(twin, cotangent, is_checkpointed=False)
    if gradient is None:
        return None, False
    is_flat = not bool(gradient.any()) and not torch.equal(
        twin.purify(), twin.purify(1 - twin.images)
    )
    return agreement(twin, cotangent, gradient), is_flat


def spread(subject: Subject) -> float:
    """The greatest difference of an image's outputs over ways of batching it."""
    x, draws = subject.images, subject.draws
    whole, b = subject.purify(), len(x)
    worst = [0.0]

    def compare(rows: Tensor, out: Tensor) -> None:
        worst.append(float((out - whole[rows]).abs().max()))

    alone = [torch.tensor([i]) for i in range(min(b, 4))]
    halves = [torch.arange(b // 2), torch.arange(b // 2, b)]
    for rows in (*alone, *halves, torch.arange(b).flip(0)):
        compare(rows, subject.purify(x[rows], draws.take(rows)))
    padding = replace(draws, images=draws.images + b)
    longer = replace(
        draws,
        images=torch.cat((draws.images, padding.images)),
        rows=torch.cat((draws.rows, padding.rows)),
    )
    compare(torch.arange(b), subject.purify(torch.cat((x, 1 - x)), longer)[:b])
    return max(worst)


def generator_states() -> list[bytes]:
    """The states of the global generators of torch (also on CUDA), numpy and Python."""
    return [
        torch.get_rng_state().numpy().tobytes(),
        *(state.cpu().numpy().tobytes() for state in torch.cuda.get_rng_state_all()),
        repr(np.random.get_state(legacy=False)).encode(),
        repr(random.getstate()).encode(),
    ]


@contextmanager
def generators_kept() -> Iterator[None]:
    """Puts the global generators back to where they were."""
    numpy_state, python_state = np.random.get_state(), random.getstate()
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        try:
            yield
        finally:
            np.random.set_state(numpy_state)
            random.setstate(python_state)
