"""Examinations of a run: measured once, and kept beside its shards."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor

from benchmark.containment import contained
from benchmark.dataset import images_of, labels_of
from benchmark.errors import BenchError
from benchmark.evaluated import Measurement, Row
from benchmark.files import write_whole
from benchmark.identity.closure import closure_of
from benchmark.job import canonical
from benchmark.running.prepared import Prepared, dtype_of
from benchmark.trust import examination

log = logging.getLogger(__name__)


def examine_once(ready: Prepared, rows: Sequence[Row]) -> tuple[Measurement, ...]:
    """What the protocol's diagnosis asks to be measured of the purifiers; nothing where it asks for nothing.

    Args:
        ready: The prepared request.
        rows: Its plan; the job of the first attack stands for all that decides the result.

    Raises:
        BenchError: It cannot be written.
    """
    asked = ready.protocol.diagnosis
    if asked is None or min(asked.examined, len(ready.order)) < 2:
        return ()
    indices = ready.order[: asked.examined]
    job = next(row.job for row in rows if row.column is not None)
    path = ready.request.runs / "examinations" / f"{_key(job.key, indices)}.json"
    kept = _read(path)
    if kept is not None:
        return kept
    found = examination.examine(_exhibit(ready, indices))
    text = json.dumps([asdict(each) for each in found], indent=2, allow_nan=False)
    write_whole(path, f"{text}\n".encode())
    return found


def _exhibit(ready: Prepared, indices: tuple[int, ...]) -> examination.Exhibit:
    at = torch.tensor(indices)
    images = images_of(ready.dataset, "test", at)
    fresh = _fresh(ready, len(indices))
    dtype = dtype_of(ready.request)
    return examination.Exhibit(
        victim=ready.victim,
        stages=[(stage.defense, stage.setting) for stage in ready.stages],
        images=images.to(ready.device, dtype),
        fresh=None if fresh is None else fresh.to(ready.device, dtype),
        seed=ready.request.seed,
    )


def _fresh(ready: Prepared, n: int) -> Tensor | None:
    """Training images, so many, evenly spread; None where the dataset has no training split here."""
    try:
        with contained(f"dataset {ready.dataset.name!r}: its training images"):
            total = len(labels_of(ready.dataset, "train"))
            at = torch.linspace(0, total - 1, n).long()
            return images_of(ready.dataset, "train", at)
    except BenchError as error:
        log.debug("no training images: %s", error)
        return None


def _key(job: str, indices: tuple[int, ...]) -> str:
    """sha256 of all that decides the result, hex: the victim, the images, and what measures."""
    source = closure_of([examination.__name__]).sha256()
    return hashlib.sha256(canonical([job, indices, source]).encode()).hexdigest()


def _read(path: Path) -> tuple[Measurement, ...] | None:
    """What was kept; None where there is nothing, or nothing that can be used."""
    if not path.is_file():
        return None
    try:
        return tuple(Measurement(**each) for each in json.loads(path.read_bytes()))
    except (OSError, TypeError, ValueError) as error:
        log.warning("%s is damaged (%s); it is made again", path, error)
        return None
