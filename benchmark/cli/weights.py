"""Weights that a command's evaluations need: refused all at once, or trained, before anything runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from benchmark.cli.progress import RunProgress
from benchmark.cli.train import train_missing
from benchmark.errors import WeightsMissing

if TYPE_CHECKING:
    from benchmark.evaluation.prepare.request import Request
    from benchmark.evaluation.prepare.resolve import MissingWeights


def see_to_weights(requests: Sequence[Request], *, train_first: bool = False) -> None:
    """Trains what is missing where that was asked for, each once; else refuses it.

    Raises:
        WeightsMissing: Weights are missing, one line for all of them.
        BenchError: A name is nobody's.
    """
    # here so that --help starts no torch
    from benchmark.evaluation.prepare.resolve import resolve, weights_missing

    missing: dict[str, tuple[Request, MissingWeights]] = {}
    with RunProgress("weights"):
        for request in requests:
            try:
                resolve(request)
            except WeightsMissing as error:
                missing |= {each.command: (request, each) for each in error.missing}
    if missing and not train_first:
        raise weights_missing(each for _, each in missing.values())
    for request, each in missing.values():
        train_missing(request, each)
