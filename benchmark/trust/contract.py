"""`bench check` as one function: a request's defense, prepared, through every check."""

from __future__ import annotations

import torch

from benchmark.classifiers.acceptance import accept
from benchmark.errors import BenchError
from benchmark.numerics import fix_numerics
from benchmark.running.prepared import dtype_of, prepare
from benchmark.running.request import Request
from benchmark.trust.checks import CheckOutcome, run_checks

IMAGES = 8


def check_request(request: Request) -> list[CheckOutcome]:
    """Runs every check of a defense's contract on a few images.

    Raises:
        BenchError: The request cannot be met, or names a chain or an ensemble.
    """
    fix_numerics()
    ready = prepare(request)
    if len(ready.defenses) != 1:
        raise BenchError(f"{ready.label!r} is put together of several: check its stages one by one")
    indices = torch.tensor(ready.order[:IMAGES])
    images = ready.dataset.images("test", indices).to(ready.device, dtype_of(request))
    accept(ready.classifier, images, ready.dataset)
    return run_checks(ready.defenses[0], ready.settings[0], images, seed=request.seed)
