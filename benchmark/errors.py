"""The two families of failure: what the user can mend, and (everything else) our own bugs."""

from typing import Any


class BenchError(Exception):
    """Something the user can mend; the command line prints it as one line and exits with status 2.

    The message says what was expected, what came, and what to do.
    """


class ContractBroken(BenchError):
    """A plugin returned what its interface forbids: a wrong shape or range, NaN, a broken budget."""


class WeightsMissing(BenchError):
    """A defense has no weights for a classifier and a dataset; training it first mends that.

    Args:
        message: One line.
        missing: What is missing (`MissingWeights` of `benchmark.evaluation.prepare.resolve`).
    """

    def __init__(self, message: str, missing: tuple[Any, ...] = ()) -> None:
        super().__init__(message)
        self.missing = missing
