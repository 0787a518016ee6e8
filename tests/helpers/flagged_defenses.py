"""Purifiers that are each wrong in one known way, for the flag that must say so."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmark.engine.randomness import Draws
from benchmark.engine.victims.defense import Defense, Derivative
from benchmark.engine.victims.victim import StraightThrough


class Blind(Defense):
    """Changes nothing, and declares a gradient that it hides."""

    name = "blind"
    stochastic = False
    gradient = Derivative.EXACT

    def purify(self, x: Tensor, *, draws: Draws) -> Tensor:
        out: Tensor = StraightThrough.apply(x * 0, x.detach().clone())
        return out


class Backwards(Defense):
    """Changes nothing; its gradient, declared exact, points the other way."""

    name = "backwards"
    stochastic = False
    gradient = Derivative.EXACT

    def purify(self, x: Tensor, *, draws: Draws) -> Tensor:
        out: Tensor = StraightThrough.apply(1 - x, x.detach().clone())
        return out


class Modest(Defense):
    """Halves the contrast; declares no gradient although it has one."""

    name = "modest"
    stochastic = False
    gradient = Derivative.NONE

    def purify(self, x: Tensor, *, draws: Draws) -> Tensor:
        return 0.5 * x + 0.25


class ByHeart(Defense):
    """Gives back whichever known image is nearest, if it is near; else the image, a little blurred.

    Args:
        known: The images, flat, as nested lists `(n, c * h * w)`.
        near: Greatest mean absolute distance at which it recognises one.
        far: Least distance at which it does.
    """

    name = "by-heart"
    stochastic = False
    gradient = Derivative.NONE

    def __init__(
        self, *, known: list[list[float]] | None = None, near: float = 1.0, far: float = 0.0
    ) -> None:
        self.known = known
        self.near = near
        self.far = far

    def purify(self, x: Tensor, *, draws: Draws) -> Tensor:
        flat = x.detach().flatten(1)
        known = torch.tensor(self.known, dtype=x.dtype, device=x.device)
        apart = (flat[:, None] - known).abs().mean(2)
        least, nearest = apart.min(1)
        is_known = (least <= self.near) & (least >= self.far)
        return torch.where(is_known[:, None], known[nearest], flat).view_as(x)


class Halfway(ByHeart):
    """Goes a share of the way to the nearest known image.

    Args:
        known: The images, flat, as nested lists `(n, c * h * w)`.
        share: Of the way.
    """

    name = "halfway"
    gradient = Derivative.ALMOST_EVERYWHERE

    def __init__(self, *, known: list[list[float]] | None = None, share: float = 0.5) -> None:
        super().__init__(known=known)
        self.share = share

    def purify(self, x: Tensor, *, draws: Draws) -> Tensor:
        return (1 - self.share) * x + self.share * super().purify(x, draws=draws)


class Crowded(Defense):
    """Lets images pass in small batches, and blackens them in larger ones.

    Args:
        most: Images in a batch that is small.
    """

    name = "crowded"
    stochastic = False
    gradient = Derivative.EXACT

    def __init__(self, *, most: int = 64) -> None:
        self.most = most

    def purify(self, x: Tensor, *, draws: Draws) -> Tensor:
        return x * (1.0 if len(x) <= self.most else 0.5)


class Wall(Defense):
    """Puts out the same image whatever comes in."""

    name = "wall"
    stochastic = False
    gradient = Derivative.NONE

    def purify(self, x: Tensor, *, draws: Draws) -> Tensor:
        return torch.full_like(x, 0.25)


class Halves(Defense):
    """Honest: takes half of the way towards grey, with its true gradient."""

    name = "halves"
    stochastic = False
    gradient = Derivative.EXACT

    def purify(self, x: Tensor, *, draws: Draws) -> Tensor:
        return 0.5 * x + 0.25


class Crash(Defense):
    """Honest; refuses float64, and so is measured in float32."""

    name = "crash"
    stochastic = False
    gradient = Derivative.EXACT

    def purify(self, x: Tensor, *, draws: Draws) -> Tensor:
        if x.dtype == torch.float64:
            raise RuntimeError("only float32")
        return x * 1.0


class Dazzling(Defense):
    """Changes nothing; its gradient is the true one below far stronger noise.

    Args:
        glare: Standard deviation of the noise, relative to the gradient.
    """

    name = "dazzling"
    stochastic = True
    gradient = Derivative.EXACT

    def __init__(self, *, glare: float = 3.0) -> None:
        self.glare = glare

    def purify(self, x: Tensor, *, draws: Draws) -> Tensor:
        noise = draws.at("glare").normal(tuple(x.shape[1:]), dtype=x.dtype)
        out: Tensor = StraightThrough.apply(x * (1 + self.glare * noise), x.detach().clone())
        return out


class Grainy(Defense):
    """Honest: multiplies each pixel's distance from grey by noise around 1; every draw has its own slope.

    Args:
        sigma: Standard deviation of the noise.
    """

    name = "grainy"
    stochastic = True
    gradient = Derivative.ALMOST_EVERYWHERE

    def __init__(self, *, sigma: float = 1.0) -> None:
        self.sigma = sigma

    def purify(self, x: Tensor, *, draws: Draws) -> Tensor:
        noise = draws.at("grain").normal(tuple(x.shape[1:]), dtype=x.dtype)
        return (0.5 + (x - 0.5) * (1 + self.sigma * noise)).clamp(0, 1)
