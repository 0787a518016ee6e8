"""Examinations of a run: measured once, and kept beside its shards."""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import TypeVar

import torch
from pydantic import TypeAdapter
from torch import Tensor

from benchmark.compute.memory import BatchLimit
from benchmark.compute.sandbox import sandboxed
from benchmark.contract import gradients
from benchmark.contract import measurements as examination
from benchmark.contract.sample import Sample
from benchmark.engine.dataset import Dataset, images_of, indices_of, labels_of
from benchmark.engine.randomness import Draws
from benchmark.engine.threat import Knowledge
from benchmark.engine.victims.victim import GradientMode, Victim
from benchmark.errors import BenchError
from benchmark.evaluation.prepare.prepare import Prepared, dtype_of
from benchmark.files.atomic import write_whole
from benchmark.identity.closure import closure_of
from benchmark.records.gradients import MeasuredGradients
from benchmark.records.job import canonical
from benchmark.records.protocol_rows import is_measured
from benchmark.records.result import Result
from benchmark.records.run import DefenseMeasurement, PlannedAttack

log = logging.getLogger(__name__)


EXAMINED = 8
"""Images on which purifiers are examined where the protocol's diagnosis does not ask for more."""
KNOWN_PIXELS = 2**26
"""Pixel values of the evaluation split that are searched for images a purifier knows: all of CIFAR's."""
AT_ONCE = 2**22
"""Of these at a time."""
MEASURED = 32
"""Images on which gradients are measured where a row goes by that."""

T = TypeVar("T")
_EXAMINED = TypeAdapter(tuple[DefenseMeasurement, ...])
_GRADIENTS = TypeAdapter(MeasuredGradients)


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
    attacks = [row for row in rows if row.column is not None]
    job = attacks[0].job
    followed = {row.job.gradient for row in attacks if row.knowledge is Knowledge.WHITE_BOX}
    seen = sorted({digest for each in results[job.key] for digest in each.fingerprints})
    decides = [[job.key, *seen], indices, sorted(followed)]

    def make() -> tuple[DefenseMeasurement, ...]:
        sample = exhibit_of(ready, indices, every)
        return examination.examine(replace(sample, followed=followed))

    found = _once(ready, examination.__name__, decides, _EXAMINED, make)
    return (*ready.examination, *found)


def measure_gradients(ready: Prepared, *, keeps: bool) -> MeasuredGradients:
    """In which modes the gradients of a prepared victim come, and which are confirmed; measured once.

    Args:
        ready: The prepared request.
        keeps: Whether it is written beside the shards; what is there is read in any case.

    Raises:
        BenchError: It breaks down without a gradient, or what was measured cannot be written.
    """
    is_asked = any(map(is_measured, ready.protocol.attacks))
    n = MEASURED if is_asked else EXAMINED
    every = indices_of(ready.dataset, "test", ready.request.order)
    indices = tuple(dict.fromkeys((*ready.order, *every)))[:n]
    sample = exhibit_of(ready, indices, every, compares=False)
    draws = Draws.of(sample.seed, torch.tensor(indices, device=ready.device), "answers")
    with torch.no_grad(), sandboxed("measuring its gradients"):
        answers = torch.cat([found for _, found in _answers(ready.victim, sample.images, draws)])
    victim = [asdict(plugin) for plugin in ready.plugins], ready.victim_sha256, ready.composition
    bare = ready.classifier
    decides = [
        *(*victim, bare.name, bare.sha256, bare.code, bare.source, bare.harness),
        *(ready.task, indices, hashlib.sha256(answers.cpu().numpy().tobytes()).hexdigest()),
    ]
    make = partial(gradients.measured, sample)
    return _once(ready, gradients.__name__, decides, _GRADIENTS, make, keeps=keeps)


def _answers(victim: Victim, x: Tensor, draws: Draws) -> Iterator[tuple[Tensor, Tensor]]:
    """Logits of images `(b, c, h, w)`, as many at once as memory allows, with their positions."""

    def one_pass(at: Tensor) -> Tensor:
        return victim.logits(x[at], draws=draws.take(at), mode=GradientMode.EXACT)

    return BatchLimit(len(x)).passes(len(x), one_pass, x.device)


def _once(
    ready: Prepared,
    module: str,
    decides: object,
    kind: TypeAdapter[T],
    make: Callable[[], T],
    *,
    keeps: bool = True,
) -> T:
    """What was kept beside the shards, or else is made and kept.

    Args:
        ready: The prepared request.
        module: That makes it; another source makes it anew.
        decides: All else that decides it.
        kind: How it is written.
        make: Makes it.
        keeps: Whether it is kept.
    """
    content = [closure_of([module]).sha256(), decides]
    key = hashlib.sha256(canonical(content).encode()).hexdigest()
    path = ready.request.runs / "examinations" / f"{key}.json"
    if path.is_file():
        try:
            return kind.validate_json(path.read_bytes())
        except (OSError, ValueError) as error:
            log.warning("%s is damaged (%s); it is made again", path, error)
    found = make()
    if keeps:
        write_whole(path, kind.dump_json(found, indent=2) + b"\n")
    return found


def exhibit_of(
    ready: Prepared, indices: tuple[int, ...], every: Sequence[int], *, compares: bool = True
) -> Sample:
    """What is examined of a request.

    Args:
        ready: The prepared request.
        indices: Of the images on which it is examined.
        every: Of the images that its purifiers might know, into the evaluation split.
        compares: Whether training images are wanted to compare with.
    """
    images = images_of(ready.dataset, "test", torch.tensor(indices))
    fresh = _fresh(ready, len(indices)) if compares else None
    dtype = dtype_of(ready.request)
    return Sample(
        victim=ready.victim,
        stages=[(stage.defense, stage.setting) for stage in ready.stages],
        images=images.to(ready.device, dtype),
        fresh=None if fresh is None else fresh.to(ready.device, dtype),
        seed=ready.request.seed,
        known=partial(_known, ready.dataset, list(dict.fromkeys((*ready.order, *every)))),
        made=ready.made,
        gradients=ready.measured,
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
