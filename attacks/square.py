"""Square: random search by squares, which asks for logits and takes no gradient."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmark.engine.attacking.attack import Attack, Passes
from benchmark.engine.attacking.queries import Oracle
from benchmark.engine.attacking.target import Target
from benchmark.engine.randomness import Draws
from benchmark.engine.threat import Norm, Threat

_MARKS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
"""The steps out of 10,000 after which the share of changed pixels is halved."""
_BLOCK = 64
"""Steps for which random numbers are made at once."""
_POINTS = 100
"""Points of the convergence trace, about."""
_TINY = 1e-12


@dataclass(kw_only=True, eq=False, repr=False)
class Square(Attack):
    """Square Attack (Andriushchenko et al., ECCV 2020, algorithms 1 to 3), in linf and l2.

    Start, schedule and proposals are the paper's and those of AutoAttack's code, but that each image has
    squares of its own and a square may touch the last row and column, as algorithm 2 says. Of a fixed victim an
    image leaves, where it may, once it is misclassified; otherwise its margin is driven down with all queries.
    A random victim is asked `draws` times at each look and the mean margin counts; at every step the incumbent
    is looked at again, at the very draws that its rival meets, so that no lucky draw is kept; all of that is
    counted. Its every image goes the whole way.

    Args:
        queries: Answers of the victim for an image, at the most.
        start: The share of pixels that the first squares change.
        draws: Answers to one look at a random victim.
        rescales: Whether the schedule, made for 10,000 steps, is scaled to those that there are, as in the
            paper's own code; AutoAttack leaves it as it is.
    """

    name = "square"
    mixes = False

    queries: int = 5000
    start: float = 0.8
    draws: int = 20
    rescales: bool = True

    def perturb(
        self, target: Target, x: Tensor, y: Tensor, *, threat: Threat, draws: Draws
    ) -> Tensor:
        """One image for each, `(b, c, h, w)`."""
        is_random = target.victim.stochastic
        steps = self._steps(stochastic=is_random)
        oracle = Oracle(target, y, k=self.draws)
        moves = _Moves(x, threat, draws)
        best = moves.start()
        which = torch.arange(len(x), device=x.device)
        value = torch.full_like(x[:, 0, 0, 0], float("-inf"))
        if not is_random:
            value = oracle.margins(best, which, draws.at("eot", "start"))
        for step in range(steps):
            if target.leaves_early:
                which = (value <= 0).nonzero().flatten()
            if not len(which):
                break
            share = changed_share(step, steps, start=self.start, rescales=self.rescales)
            tried = moves.propose(best[which], which, step, share)
            at = draws.at("eot", step).take(which)
            if is_random:
                value[which] = oracle.margins(best[which], which, at)
            found = oracle.margins(tried, which, at)
            better = found > value[which]
            best[which[better]], value[which[better]] = tried[better], found[better]
            if (step + 1) % max(1, steps // _POINTS) == 0:
                target.mark(float((value <= 0).double().mean()))
        target.mark(float((value <= 0).double().mean()))
        return best

    def passes(self, *, stochastic: bool, **_: object) -> Passes:
        """All its queries; two looks a step at a random victim, and none that would not be whole."""
        steps = self._steps(stochastic=stochastic)
        queries = 2 * self.draws * steps if stochastic else self.queries
        return Passes(forwards=queries, backwards=0)

    def _steps(self, *, stochastic: bool) -> int:
        """Proposals that the queries pay for, after the start.

        Raises:
            BenchError: There are none, or an argument is out of range.
        """
        least = 2 * self.draws if stochastic else 2
        self._require(
            self.draws >= 1 and self.queries >= least and 0 < self.start <= 1,
            f"at least 1 draw, {least} queries for such a victim and a start above 0 and at most 1",
        )
        return self.queries // least if stochastic else self.queries - 1


def changed_share(step: int, steps: int, *, start: float, rescales: bool) -> float:
    """The share of pixels that the square of a step changes (section 3.3: halved at fixed steps)."""
    at = int(step / steps * 10_000) if rescales else step
    halved: float = start / 2 ** sum(at > mark for mark in _MARKS)
    return halved


class _Moves:
    """Starts and proposals around clean images `(b, c, h, w)` in a threat, each image at draws of its own."""

    def __init__(self, x: Tensor, threat: Threat, draws: Draws) -> None:
        self.x, self.threat, self.draws = x, threat, draws
        self._block = -1
        self._numbers = x.new_zeros(0)

    def start(self) -> Tensor:
        """Vertical stripes of the full budget in linf; in l2 a grid of 5 x 5 little pyramids."""
        x, eps = self.x, self.threat.eps
        c, h, w = x.shape[1:]
        at = self.draws.at("init")
        if self.threat.norm is Norm.LINF:
            return (x + eps * _signs(at.uniform((c, 1, w), dtype=x.dtype))).clamp(0.0, 1.0)
        s = max(1, h // 5)
        offset = max(0, (h - 5 * s) // 2)
        δ = torch.zeros_like(x)
        places = [(i, j) for i in range(offset, h - s + 1, s) for j in range(offset, w - s + 1, s)]
        numbers = at.uniform((len(places), c + 1), dtype=x.dtype)
        for number, (i, j) in enumerate(places):
            turned, signs = numbers[:, number, 0] < 0.5, _signs(numbers[:, number, 1:])
            δ[:, :, i : i + s, j : j + s] = _pyramids(s, turned, x) * signs[..., None, None]
        return (x + eps * self.threat.direction(δ)).clamp(0.0, 1.0)

    def propose(self, best: Tensor, which: Tensor, step: int, share: float) -> Tensor:
        """Images `(a, c, h, w)` that differ by a square from the best ones, of images at positions `(a,)`."""
        h, w = best.shape[2:]
        numbers = self._at(step)[which]
        s = max(round(math.sqrt(share * h * w)), 1)
        if self.threat.norm is not Norm.LINF:
            s = max(s, 3)
            s += s % 2 == 0
        s = min(s, h, w)
        corners = [(numbers[:, i] * (side - s + 1)).long() for i, side in enumerate((h, w, h, w))]
        x, signs = self.x[which], _signs(numbers[:, 5:]).to(best.dtype)[..., None, None]
        if self.threat.norm is Norm.LINF:
            inside = _inside(corners[0], corners[1], s, best)
            tried = best + 2 * self.threat.eps * signs * inside
            return self.threat.project(x, tried)
        turned = numbers[:, 4] < 0.5
        δ = self._exchanged(best - x, _pyramids(s, turned, x) * signs, corners)
        return (x + self.threat.eps * self.threat.direction(δ)).clamp(0.0, 1.0)

    def _at(self, step: int) -> Tensor:
        """The random numbers of a step, `(b, 5 + c)` float64: two corners, a turn, a sign a channel."""
        if step // _BLOCK != self._block:
            self._block = step // _BLOCK
            shape = (_BLOCK, 5 + self.x.shape[1])
            at = self.draws.at("squares", self._block)
            self._numbers = at.uniform(shape, dtype=torch.float64)
        return self._numbers[:, step % _BLOCK]

    def _exchanged(self, δ: Tensor, new: Tensor, corners: list[Tensor]) -> Tensor:
        """Algorithm 3: the mass of a second window, and what the budget has left, go into the first one.

        Args:
            δ: Changes so far, `(a, c, h, w)`.
            new: The window that is laid over the first, `(a, c, s, s)`.
            corners: Upper left corners of both windows, four of `(a,)`.
        """
        c, s = δ.shape[1], new.shape[-1]
        first, second = (
            _inside(corners[0], corners[1], s, δ),
            _inside(corners[2], corners[3], s, δ),
        )
        rows = corners[0][:, None, None] + torch.arange(s, device=δ.device)[:, None]
        columns = corners[1][:, None, None] + torch.arange(s, device=δ.device)
        image = torch.arange(len(δ), device=δ.device)[:, None, None]
        old = δ[image, :, rows, columns].permute(0, 3, 1, 2)  # (a, c, s, s)
        in_both = (δ * torch.maximum(first, second)).square().sum((2, 3), keepdim=True)
        left = (self.threat.eps**2 - δ.square().sum((1, 2, 3), keepdim=True)).clamp_min(0) / c
        new = new + old / (_TINY + _length(old))
        new = new / (_TINY + _length(new)) * (left + in_both).sqrt()
        δ = δ * (1 - second)
        δ[image, :, rows, columns] = new.permute(0, 2, 3, 1)
        return δ


def _signs(uniform: Tensor) -> Tensor:
    return torch.where(uniform < 0.5, -1.0, 1.0).to(uniform.dtype)


def _length(window: Tensor) -> Tensor:
    """Of each channel of windows `(a, c, s, s)`, `(a, c, 1, 1)`."""
    return window.square().sum((2, 3), keepdim=True).sqrt()


def _inside(rows: Tensor, columns: Tensor, s: int, like: Tensor) -> Tensor:
    """1 in the square of side s at each image's corner `(a,)`, 0 outside, `(a, 1, h, w)`."""
    h, w = like.shape[2:]
    i = torch.arange(h, device=like.device) - rows[:, None]
    j = torch.arange(w, device=like.device) - columns[:, None]
    inside = ((i >= 0) & (i < s))[:, :, None] & ((j >= 0) & (j < s))[:, None, :]
    return inside.to(like.dtype)[:, None]


def _pyramids(s: int, turned: Tensor, like: Tensor) -> Tensor:
    """Two pyramids of opposite sign that fill a square of norm 1, side by side or turned, `(a, 1, s, s)`.

    (Section 3.4, equation 2.)
    """
    upright = torch.cat((_pyramid(s // 2, s), -_pyramid(s - s // 2, s)))
    upright = (upright / upright.norm()).to(like)
    return torch.where(turned.view(-1, 1, 1, 1), upright.T, upright)


def _pyramid(h: int, w: int) -> Tensor:
    """Concentric rectangles of heights that fall as `1 / n^2`, of norm 1, `(h, w)` float64."""
    if not h:
        return torch.zeros(0, w, dtype=torch.float64)
    n = max(h // 2, w // 2) + 1
    heights = torch.arange(1, n + 1, dtype=torch.float64) ** -2
    sums = heights.flip(0).cumsum(0).flip(0)  # over all rectangles that hold a pixel
    i, j = torch.arange(h) - h // 2, torch.arange(w) - w // 2
    pyramid = sums[torch.maximum(i.abs()[:, None], j.abs()[None, :])]
    unit: Tensor = pyramid / pyramid.norm()
    return unit
