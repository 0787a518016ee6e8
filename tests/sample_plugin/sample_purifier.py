"""A purifier as another package brings it: it takes contrast away, which costs a classifier its margins."""

from benchmark import Defense, Derivative

WEIGHT = 0.3
"""How much of the image gives way to grey."""


class Contrast(Defense):
    """A mixture of the image and grey."""

    name = "sample-contrast"
    stochastic = False
    gradient = Derivative.EXACT

    def purify(self, x, *, draws):
        """Images `(b, c, h, w)` with less contrast."""
        return (1 - WEIGHT) * x + WEIGHT / 2
