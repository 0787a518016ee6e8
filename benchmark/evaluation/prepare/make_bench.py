"""The bench of a prepared request, on its own device or on another."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import torch

from benchmark.engine.victims.acceptance import Conduct
from benchmark.engine.victims.classifier import Classifier
from benchmark.errors import BenchError
from benchmark.evaluation.prepare.bench import Bench
from benchmark.evaluation.prepare.prepare import Prepared, dtype_of, portable, prepare
from benchmark.evaluation.prepare.request import Request

CPU_ROWS = 512
CUDA_ROWS = 2048
"""Rows in one forward pass to begin with; `benchmark.compute.memory.BatchLimit` finds how many of them fit."""


def bench_of(ready: Prepared) -> Bench:
    """What the jobs of a run are done with."""
    rows = CPU_ROWS if ready.device.type == "cpu" else CUDA_ROWS
    return Bench(
        dataset=ready.dataset,
        split="test",
        order=ready.order,
        victim=ready.victim,
        classifiers=_by_name(bare_classifiers(ready)),
        device=ready.device,
        dtype=dtype_of(ready.request),
        batch_size=ready.request.batch_size or rows,
        random=frozenset(name for name, each in ready.conduct.items() if each.random),
    )


def bare_classifiers(ready: Prepared) -> tuple[Classifier, ...]:
    """All that images are made on without a purifier."""
    return (ready.classifier, *ready.surrogates.values(), *ready.ensembles.values())


def _by_name(classifiers: Iterable[Classifier]) -> dict[str, Classifier]:
    """Classifiers by name; a job names the one that it attacks.

    Raises:
        BenchError: Two of one name are not the same.
    """
    found: dict[str, Classifier] = {}
    for one in classifiers:
        other = found.setdefault(one.name, one)
        if (other.sha256, other.code, other.source) != (one.sha256, one.code, one.source):
            raise BenchError(
                f"two classifiers of this run are called {one.name!r} and have other weights or code (sha256 "
                f"{other.sha256[:16]} and {one.sha256[:16]}); give one of them another name"
            )
    return found


def bench_on(
    request: Request, device: torch.device, conduct: Mapping[str, Conduct] | None = None
) -> Bench:
    """The same bench on another device: everything loaded and prepared anew, nothing moved.

    What was prepared elsewhere may keep tensors that no `to(device)` reaches: a defense its setting's device, a
    network of the zoo its means.

    Raises:
        BenchError: As `prepare`.
    """
    ready = prepare(replace(portable(request), device=str(device)))
    return bench_of(ready.behaving(conduct or {}))
