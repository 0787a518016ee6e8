"""Weights that a command's evaluations need: refused all at once, or trained, before anything runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from benchmark.cli.progress import RunProgress
from benchmark.cli.train import train_lacks

if TYPE_CHECKING:
    from benchmark.evaluation.prepare.missing_weights import Lack
    from benchmark.evaluation.prepare.request import Request


def see_to_weights(requests: Sequence[Request], *, train_first: bool) -> None:
    """Trains what is missing where that was asked for, each once; else refuses it.

    Raises:
        BenchError: Weights are missing, one line for all of them; or a name is nobody's.
    """
    if not train_first:
        refuse_missing(requests)
        return
    once = {lack.command: (request, lack) for request, lack in _missing(requests)}
    for request, lack in once.values():
        train_lacks(request, [lack])


def refuse_missing(requests: Sequence[Request]) -> None:
    """Refuses where weights are missing.

    Raises:
        BenchError: As `see_to_weights`.
    """
    from benchmark.evaluation.prepare.missing_weights import (
        refuse_lacks,  # here so that --help starts no torch
    )

    refuse_lacks(lack for _, lack in _missing(requests))


def _missing(requests: Sequence[Request]) -> list[tuple[Request, Lack]]:
    from benchmark.evaluation.prepare.missing_weights import (
        lacks_of,  # here so that --help starts no torch
    )

    with RunProgress("weights"):
        return [(request, lack) for request in requests for lack in lacks_of(request)]
