"""`bench check` as one function: a request's defense, prepared, through every check."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch

from benchmark.compute.determinism import fix_numerics
from benchmark.contract import measurements as examination
from benchmark.contract.checks import CheckOutcome, Finding, outcome_of, run_checks
from benchmark.engine.victims.acceptance import accept
from benchmark.errors import BenchError
from benchmark.evaluation.execute.measure import EXAMINED, exhibit_of
from benchmark.evaluation.prepare.prepare import dtype_of, prepare
from benchmark.evaluation.prepare.probing import probe
from benchmark.evaluation.prepare.request import Request
from benchmark.records.run import DefenseMeasurement

MEASURED = {
    "has_its_gradient_as_it_is_wrapped": ("slope",),
    "knows_no_image_by_heart": ("memory", "shifted", "nearest"),
}
"""Checks that every run makes too, with the measurements that they stand on (`contract.measurements`)."""


def check_request(request: Request) -> list[CheckOutcome]:
    """Runs every check of a defense's contract on a few images, and those that every run makes.

    Raises:
        BenchError: The request cannot be met, or names a chain or an ensemble.
    """
    fix_numerics()
    ready = prepare(request)
    if len(ready.stages) != 1:
        raise BenchError(f"{ready.label!r} is put together of several: check its stages one by one")
    indices = ready.order[:EXAMINED]
    images = ready.dataset.images("test", torch.tensor(indices))
    images = images.to(ready.device, dtype_of(request))
    accept(ready.classifier, images, ready.dataset)
    # at the same draws, alone, among others, in runs of draws, with gradients and without, after others
    asked = outcome_of(
        "answers_the_same_however_it_is_asked", lambda: _finding(probe(ready).examination)
    )
    (stage,) = ready.stages
    outcomes = run_checks(stage.defense, stage.setting, images, seed=request.seed)
    found = examination.examine(exhibit_of(ready, indices, ready.order))
    for name, kinds in MEASURED.items():
        of_it = [each for each in found if each.id in kinds]
        outcomes.append(outcome_of(name, partial(_finding, of_it)))
    return [*outcomes, asked]


def _finding(measured: Sequence[DefenseMeasurement]) -> Finding:
    """Whether none is above its threshold, nor without a value."""
    bad = [
        each
        for each in measured
        if each.value is None or each.threshold is None or each.value > each.threshold
    ]
    return Finding(not bad, "; ".join(each.detail for each in bad or measured))
