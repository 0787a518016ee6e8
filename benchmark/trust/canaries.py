"""Known-broken purifiers: an evaluation that does not bring them down does not attack."""

from __future__ import annotations

from torch import Tensor

from benchmark.defense import Defense, Derivative
from benchmark.randomness import Draws
from benchmark.victim import StraightThrough


class ZeroGradient(Defense):
    """Changes nothing and hides it: the image goes through, its gradient is scaled to nothing.

    It declares an exact gradient, as such purifiers do; only BPDA, transfer and queries see through it.
    """

    name = "zero-gradient"
    stochastic = False
    gradient = Derivative.EXACT
    summary = "the identity with a gradient of zero; broken on purpose"

    def purify(self, x: Tensor, *, draws: Draws) -> Tensor:
        """The image, with no gradient behind it."""
        del draws
        out: Tensor = StraightThrough.apply(x * 0, x.detach().clone())
        return out
