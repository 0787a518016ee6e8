"""A defense under examination, and what can be measured on it."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np
import torch
from torch import Tensor

from benchmark.compute.sandbox import fresh_global_state, sandboxed
from benchmark.engine.randomness import Draws
from benchmark.engine.threat import Norm, Threat
from benchmark.engine.victims.defense import Defense
from benchmark.engine.victims.purified import Purified
from benchmark.engine.victims.setting import Setting
from benchmark.engine.victims.victim import GradientMode
from benchmark.errors import BenchError, ContractBroken

NOBODYS = 2**40
"""From here on no image of a dataset has a number: looking uses up no draw of a run."""
STEPS = (1e-5, 1e-6, 1e-7)
"""Step lengths of finite differences; a point agrees when one of them does (a step may cross a kink)."""
COARSE_STEPS = (3e-2, 1e-2, 3e-3, 1e-3, 3e-4)
"""The same where no more than float32 is computed in: those far above its rounding tell something."""
DROWNED = 0.3
"""The share of a gradient's length that rounding may make of a slope for it to tell anything."""
COARSE = 0.05
"""How far a slope may then lie from the derivative, relative to the length of the gradient."""
DIRECTIONS = 4
"""Random directions in which each image's derivative is taken."""


USUAL = Threat(Norm.LINF, 8 / 255)
"""How far images are moved to be looked at, where the threat is no lp ball."""


def ball_of(threat: Threat) -> Threat:
    """The threat itself where it is an lp ball, else `USUAL`."""
    return threat if isinstance(threat.norm, Norm) else USUAL


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
        nobodys = NOBODYS + torch.arange(len(images), device=setting.device)
        self.draws = Draws.of(seed, nobodys, "check")
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

    @cached_property
    def finest(self) -> Subject:
        """The same in float64; itself, on the same images, where it cannot be made or asked in that."""
        try:
            with sandboxed("in float64, it"):
                self.double.purify()
                return self.double
        except ContractBroken:
            raise
        except BenchError:
            return Subject(self.defense, self.setting, 0.1 + 0.75 * self.images, self.draws.seed)

    @cached_property
    def rounding(self) -> float:
        """The relative rounding that its output shows; 0 where that is computed in float64 indeed."""
        return rounding_of(self.images, self.purify().double())

    def autograd(self) -> Slope:
        """How autograd through the purifier fares (`autograd_of`)."""
        function = partial(self.victim().purify, draws=self.draws, mode=GradientMode.EXACT)
        return autograd_of(function, self.images, self.draws)

    def victim(self, *, is_checkpointed: bool = False) -> Purified:
        """The defense before its classifier."""
        return Purified([self.defense], self.setting.defended(), is_checkpointed=is_checkpointed)

    def purify(
        self,
        x: Tensor | None = None,
        draws: Draws | None = None,
        *,
        mode: GradientMode | None = None,
    ) -> Tensor:
        """Purified images without a graph; of the subject's own images and draws by default.

        Where there is a mode, they are asked for as an attack does, by images that want their gradient.
        """
        shown = self.images if x is None else x
        if mode is not None:
            shown = shown.detach().clone().requires_grad_()
        with torch.set_grad_enabled(mode is not None):
            out = self.victim().purify(
                shown,
                draws=self.draws if draws is None else draws,
                mode=mode or GradientMode.EXACT,
            )
        return out.detach()


def rebuilt(defense: Defense, setting: Setting) -> Defense:
    """A new defense from the arguments of another, prepared."""
    twin = type(defense)(**defense.arguments())
    twin.prepare(setting)
    return twin


def differentiated(function: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Tensor | None]:
    """What a function of images puts out, and the gradient of its sum; None where there is no graph."""
    leaf = x.clone().requires_grad_()
    with torch.enable_grad():
        out = function(leaf)
    if not out.requires_grad:
        return out, None
    (gradient,) = torch.autograd.grad(out.sum(), leaf, allow_unused=True)
    return out.detach(), gradient


@dataclass(frozen=True, slots=True)
class Slope:
    """How autograd fares against central differences.

    Args:
        agrees: The share of (image, direction) at which it is the derivative; 0 where it reaches no input.
        reaches: Whether it reaches the input at all.
        is_flat: Whether it is 0 everywhere although the output changes.
        is_coarse: Whether less than float64 is computed in, so that it could be told coarsely only.
    """

    agrees: float
    reaches: bool
    is_flat: bool
    is_coarse: bool


def autograd_of(
    function: Callable[[Tensor], Tensor], x: Tensor, draws: Draws, *, rounding: float = 0.0
) -> Slope:
    """How autograd through a function of images fares against central differences (`Differences`)."""
    return Differences(function, x, draws, rounding=rounding).hold(function)


class Differences:
    """Central differences of a function of images, against which gradients are held.

    Args:
        function: Images `(b, c, h, w)` to `(b, ...)`, each by itself, at frozen draws.
        x: Images, off the clamps by 0.1.
        draws: Of these images, for the directions.
        rounding: The relative rounding inside, where what comes out does not show it.
        kinks: How far a slope may lie from the derivative, relative to the length of the gradient: what kinks
            do that no step is too short for.
    """

    def __init__(
        self,
        function: Callable[[Tensor], Tensor],
        x: Tensor,
        draws: Draws,
        *,
        rounding: float = 0.0,
        kinks: float = 0.0,
    ) -> None:
        self._x, self._function = x, function
        self._out = out = self._plain(x)
        self._rounding = max(rounding, rounding_of(x, out))
        shape = tuple(out.shape[1:])
        self._cotangent = draws.at("cotangent").normal(shape, dtype=torch.float64)
        self._spread = max(kinks, COARSE if self._rounding else 0.0)
        found = []
        for i in range(DIRECTIONS):
            v = draws.at("direction", i).normal(tuple(x.shape[1:]), dtype=x.dtype).clamp(-3, 3)
            found.append((v, [(h, self._slope(v, h)) for h in self._steps]))
        self._found = found

    @property
    def _steps(self) -> tuple[float, ...]:
        return COARSE_STEPS if self._rounding else STEPS

    def _plain(self, at: Tensor) -> Tensor:
        with fresh_global_state("slope"), torch.no_grad():
            return self._function(at).double()

    def _slope(self, v: Tensor, h: float) -> Tensor:
        """How the cotangent's share of the output changes along a direction, `(b,)`."""
        higher, lower = self._plain(self._x + h * v), self._plain(self._x - h * v)
        return (self._cotangent * (higher - lower)).flatten(1).sum(1) / (2 * h)

    def hold(self, function: Callable[[Tensor], Tensor]) -> Slope:
        """How autograd through the same function fares, or through one of the same values."""
        leaf = self._x.clone().requires_grad_()
        with fresh_global_state("slope"), torch.enable_grad():
            graph = function(leaf)
        is_coarse = self._rounding > 0
        if not graph.requires_grad:
            return Slope(0.0, reaches=False, is_flat=False, is_coarse=is_coarse)
        (found,) = torch.autograd.grad((self._cotangent * graph).sum(), leaf, allow_unused=True)
        gradient = torch.zeros_like(leaf) if found is None else found
        is_flat = not bool(gradient.any()) and not torch.equal(self._out, self._plain(1 - self._x))
        agrees = self._agreement(gradient)
        return Slope(agrees, reaches=True, is_flat=is_flat, is_coarse=is_coarse)

    def _agreement(self, gradient: Tensor) -> float:
        """The share of (image, direction) at which a gradient is the derivative.

        Rounding makes three standard errors of `noise` in half the difference of two values.
        """
        found = []
        length = gradient.double().flatten(1).norm(dim=1)
        noise = 0.6 * self._rounding * (self._cotangent * self._out).flatten(1).norm(dim=1)
        for v, slopes in self._found:
            expected = (gradient * v).double().flatten(1).sum(1)
            close = torch.zeros_like(expected, dtype=torch.bool)
            for h, slope in slopes:
                allowed = 1e-6 + 1e-4 * expected.abs() + self._spread * length
                told = torch.ones_like(close)
                if self._rounding:
                    allowed = allowed + noise / h
                    told = (noise / h <= DROWNED * length) | (length == 0)
                close |= ((slope - expected).abs() <= allowed) & told
            found.append(close)
        return float(torch.cat(found).double().mean())


def rounding_of(x: Tensor, out: Tensor) -> float:
    """The relative rounding of what came out, `(b, ...)` float64; 0 where all is computed in float64."""
    for dtype in (torch.bfloat16, torch.float16, torch.float32):
        if torch.equal(out.to(dtype).double(), out):
            return float(torch.finfo(dtype).eps)
    return 0.0 if x.dtype == torch.float64 else float(torch.finfo(torch.float32).eps)


def generator_states() -> list[bytes]:
    """The states of the global generators of torch (also on CUDA), numpy and Python."""
    return [
        torch.get_rng_state().numpy().tobytes(),
        *(state.cpu().numpy().tobytes() for state in torch.cuda.get_rng_state_all()),
        repr(np.random.get_state(legacy=False)).encode(),
        repr(random.getstate()).encode(),
    ]
