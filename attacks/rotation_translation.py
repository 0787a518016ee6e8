"""Rotations and shifts of the whole image: a grid of them tried one by one, or some at random."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmark.engine.attacking.attack import Attack, Passes
from benchmark.engine.attacking.losses import margin
from benchmark.engine.attacking.perturbations import Perturbation, Rigid, moved, reach
from benchmark.engine.attacking.target import Target
from benchmark.engine.randomness import Draws
from benchmark.engine.threat import NamedSet, Threat

SEARCHES = ("grid", "random")


@dataclass(kw_only=True, eq=False, repr=False)
class RotationTranslation(Attack):
    """Engstrom et al., "Exploring the landscape of spatial robustness", ICML 2019.

    Under `spatial:1` an image is rotated by at most 30 degrees and shifted by at most 10 % of its width and of
    its height, as in the paper (3 pixels of 28 or 32; what comes in is black). The grid search tries
    every combination of evenly spaced values, both ends included, in a mixed order, so that a trace that still
    falls at its end says that the grid is coarse; worst-of-k tries k random ones. Each image
    gets the one of highest margin. Only outputs are asked for.

    Args:
        search: `grid`, or `random` (worst-of-k).
        rotations: Angles of the grid.
        shifts: Shifts of the grid along each axis.
        k: Of worst-of-k.
        candidates: How many of the best each image of a random victim gets; a deterministic one's gets the
            best.
    """

    name = "rotation-translation"
    norms = frozenset({NamedSet.SPATIAL})

    search: str = "grid"
    rotations: int = 31
    shifts: int = 5
    k: int = 10
    candidates: int = 3

    def perturb(
        self, target: Target, x: Tensor, y: Tensor, *, threat: Threat, draws: Draws
    ) -> Perturbation:
        """The worst transformation of each `(b, 1, 3)`; of a random victim the worst ones, `(b, m, 3)`."""
        self._refuse_arguments()
        n, m = self._count(), self._kept(stochastic=target.is_random)
        tried = x.new_zeros(len(x), n, 3)
        margins = x.new_full((len(x), n), -torch.inf)
        which = torch.arange(len(x), device=x.device)
        for i, unit in enumerate(self._units(x, draws)):
            tried[:, i] = threat.eps * unit * reach(x)
            x_adv = moved(x[which], tried[which, i]).clamp(0.0, 1.0)
            logits = target.mean_logits(x_adv, draws=draws.at(i, "eot").take(which))
            gap = margins[which, i] = margin(logits, y[which])
            target.mark(float((margins[:, : i + 1].amax(1) <= 0).double().mean()))
            if target.leaves_early:
                which = which[gap <= 0]
            if not len(which):
                break
        chosen = margins.topk(m, dim=1).indices
        return Rigid(tried.gather(1, chosen.unsqueeze(2).expand(-1, -1, 3)))

    def passes(self, *, eot: int, stochastic: bool, **_: object) -> Passes:
        """A prediction for every transformation."""
        kept = self._kept(stochastic=stochastic or eot > 1)
        return Passes(forwards=self._count() * eot, backwards=0, candidates=kept)

    def _count(self) -> int:
        return self.rotations * self.shifts**2 if self.search == "grid" else self.k

    def _kept(self, *, stochastic: bool) -> int:
        return min(self.candidates, self._count()) if stochastic else 1

    def _units(self, x: Tensor, draws: Draws) -> Iterator[Tensor]:
        """The transformations one by one, each of its parts in [-1, 1]: `(3,)` for all images, or `(b, 3)`."""
        if self.search == "grid":
            angle, shift = _even(self.rotations, x), _even(self.shifts, x)
            yield from torch.cartesian_prod(angle, shift, shift)[_mixed_order(self._count())]
        else:
            uniform = draws.at("init").uniform((self.k, 3), dtype=x.dtype)
            yield from (2 * uniform - 1).unbind(1)

    def _refuse_arguments(self) -> None:
        self._require_choice(search=SEARCHES)
        self._require(
            min(self.rotations, self.shifts, self.k, self.candidates) >= 1,
            "at least 1 of rotations, shifts, k and candidates",
        )


def _even(n: int, x: Tensor) -> Tensor:
    """`n` evenly spaced numbers from -1 to 1, `(n,)`; 0 where there is one."""
    ends = torch.linspace(-1, 1, n, dtype=x.dtype, device=x.device)
    return ends if n > 1 else torch.zeros_like(ends)


def _mixed_order(n: int) -> Tensor:
    """The numbers 0 to n - 1 by steps of about n over the golden ratio: all parts come early, `(n,)`."""
    step = max(1, round(n * 0.618))
    while math.gcd(step, n) > 1:
        step += 1
    return torch.arange(n) * step % n
