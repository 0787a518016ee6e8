"""No purifier at all: the undefended classifier, as a row of its own."""

from __future__ import annotations

from torch import Tensor

from benchmark.engine.randomness import Draws
from benchmark.engine.victims.defense import Defense, Derivative


class Identity(Defense):
    """Gives every image back as it came; its auxiliary loss is zero everywhere."""

    name = "none"
    stochastic = False
    gradient = Derivative.EXACT

    def purify(self, x: Tensor, *, draws: Draws) -> Tensor:
        """The images `(b, c, h, w)` themselves."""
        del draws
        return x
