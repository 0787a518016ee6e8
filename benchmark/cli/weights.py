"""Weights that a command's evaluations need: refused all at once, or trained, before anything runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import click

from benchmark.cli.progress import RunProgress
from benchmark.errors import WeightsMissing
from benchmark.evaluation.prepare.request import Request


def see_to_weights(requests: Sequence[Request], *, train_first: bool = False) -> None:
    """Trains what is missing where that was asked for, each once; else refuses it.

    Raises:
        WeightsMissing: Weights are missing, one line for all of them.
        BenchError: A name is nobody's.
    """
    # here so that --help starts no torch
    from benchmark.evaluation.prepare.resolve import MissingWeights, resolve, weights_missing
    from benchmark.training.fit import Fit, fit_defense

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
        wanted = replace(
            request,
            defense=each.defense,
            defense_args=each.arguments,
            model=each.models[0],
            dataset=each.dataset,
        )
        fit = Fit(request=wanted, companions=each.models[1:], command=each.command)
        with RunProgress(f"train {each.defense}") as progress:
            fitted = fit_defense(fit, progress.training)
        click.echo(f"Written: {fitted.path}", err=True)
