"""A plugin as a user writes it, for mypy alone: names of the public face have the types of what they name."""

from typing import Literal, assert_type

from torch import Tensor

from benchmark import Defense, Derivative, Draws


class Mine(Defense):
    name = "mine"
    gradient = Derivative.EXACT

    def purify(self, x: Tensor, *, draws: Draws) -> Tensor:
        assert_type(Derivative.EXACT, Literal[Derivative.EXACT])
        assert_type(self.stochastic, bool)
        return x + draws.normal(tuple(x.shape[1:]), dtype=x.dtype)
