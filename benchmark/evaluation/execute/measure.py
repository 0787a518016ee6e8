"""Examinations of a run: measured once, and kept beside its shards."""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from benchmark.compute.sandbox import sandboxed
from benchmark.contract import measurements as examination
from benchmark.engine.dataset import Dataset, images_of, indices_of, labels_of
from benchmark.errors import BenchError
from benchmark.evaluation.prepare.prepare import Prepared, dtype_of
from benchmark.files.atomic import write_whole
from benchmark.identity.closure import closure_of
from benchmark.records.job import canonical
from benchmark.records.result import Result
from benchmark.records.run import DefenseMeasurement, PlannedAttack

log = logging.getLogger(__name__)


EXAMINED = 8
"""Images on which purifiers are examined where the protocol's diagnosis does not ask for more."""
KNOWN_PIXELS = 2**26
"""Pixel values of the evaluation split that are searched for images a purifier knows: all of CIFAR's."""
AT_ONCE = 2**22
"""Of these at a time."""


def examine_once(
    ready: Prepared, rows: Sequence[PlannedAttack], results: Mapping[str, tuple[Result, ...]]
) -> tuple[DefenseMeasurement, ...]:
    """What is measured of victim and purifiers instead of believed: on a few images, once.

    Args:
        ready: The prepared request, as `probe` left it.
        rows: Its plan; the job of the first attack stands for all that decides the result.
        results: What was found by the key of a job; the fingerprints of that job's shards say what no key sees.

    Raises:
        BenchError: It cannot be written.
    """
    asked = ready.protocol.diagnosis
    every = indices_of(ready.dataset, "test", ready.request.order)
    first = ready.order if len(ready.order) > 1 else (*ready.order, *every, *ready.order)
    indices = first[: max(EXAMINED, asked.examined if asked else 0)]
    job = next(row.job for row in rows if row.column is not None)
    seen = sorted({digest for each in results[job.key] for digest in each.fingerprints})
    decides = [[job.key, *seen], indices, closure_of([examination.__name__]).sha256()]
    key = hashlib.sha256(canonical(decides).encode()).hexdigest()
    path = ready.request.runs / "examinations" / f"{key}.json"
    kept = _read(path)
    if kept is not None:
        return (*ready.examination, *kept)
    found = examination.examine(exhibit_of(ready, indices, every))
    text = json.dumps([each.model_dump() for each in found], indent=2, allow_nan=False)
    write_whole(path, f"{text}\n".encode())
    return (*ready.examination, *found)


def exhibit_of(
    ready: Prepared, indices: tuple[int, ...], every: Sequence[int]
) -> examination.Sample:
    """What is examined of a request.

    Args:
        ready: The prepared request.
        indices: Of the images on which it is examined.
        every: Of the images that its purifiers might know, into the evaluation split.
    """
    images = images_of(ready.dataset, "test", torch.tensor(indices))
    fresh = _fresh(ready, len(indices))
    dtype = dtype_of(ready.request)
    return examination.Sample(
        victim=ready.victim,
        stages=[(stage.defense, stage.setting) for stage in ready.stages],
        images=images.to(ready.device, dtype),
        fresh=None if fresh is None else fresh.to(ready.device, dtype),
        seed=ready.request.seed,
        known=partial(_known, ready.dataset, list(dict.fromkeys((*ready.order, *every)))),
        made=ready.made,
    )


def _known(dataset: Dataset, every: Sequence[int]) -> Iterator[Tensor]:
    """The images of the evaluation split, those of the run first, as many as `KNOWN_PIXELS` allows."""
    pixels = math.prod(dataset.shape)
    searched, step = every[: max(1, KNOWN_PIXELS // pixels)], max(1, AT_ONCE // pixels)
    for i in range(0, len(searched), step):
        yield images_of(dataset, "test", torch.tensor(searched[i : i + step]))


def _fresh(ready: Prepared, n: int) -> Tensor | None:
    """Training images, so many, evenly spread; None where the dataset has no training split here."""
    try:
        with sandboxed(f"dataset {ready.dataset.name!r}: its training images"):
            total = len(labels_of(ready.dataset, "train"))
            at = torch.linspace(0, total - 1, n).long()
            return images_of(ready.dataset, "train", at)
    except BenchError as error:
        log.debug("no training images: %s", error)
        return None


def _read(path: Path) -> tuple[DefenseMeasurement, ...] | None:
    """What was kept; None where there is nothing, or nothing that can be used."""
    if not path.is_file():
        return None
    try:
        return tuple(DefenseMeasurement(**each) for each in json.loads(path.read_bytes()))
    except (OSError, TypeError, ValueError) as error:
        log.warning("%s is damaged (%s); it is made again", path, error)
        return None
