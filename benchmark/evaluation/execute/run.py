"""One evaluation from a request to an entry: prepare, plan, run, assemble; or one slice of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from benchmark.errors import BenchError
from benchmark.evaluation.execute.command import command_of
from benchmark.evaluation.execute.examples import with_examples
from benchmark.evaluation.execute.kept_images import wanted_images, with_kept
from benchmark.evaluation.execute.measure import examine_once
from benchmark.evaluation.execute.planned import Planned, crew_of, plan_of
from benchmark.evaluation.execute.scheduler import run_shards
from benchmark.evaluation.execute.shard_queue import Shard
from benchmark.evaluation.prepare.request import Request
from benchmark.evaluation.prepare.slices import Slice
from benchmark.records.entry import Entry
from benchmark.records.result import Result
from benchmark.records.run import Run
from benchmark.scoring.assembly import assemble


@dataclass(frozen=True, slots=True)
class Listener:
    """Whom a run tells of its progress.

    Args:
        on_plan: Called once with every shard.
        on_done: Called for each finished shard with its result, and whether it had been done before.
    """

    on_plan: Callable[[Sequence[Shard]], None] = lambda shards: None  # noqa: ARG005
    on_done: Callable[[Shard, Result, bool], None] = lambda shard, result, cached: None  # noqa: ARG005


def run(request: Request, listener: Listener | None = None) -> Entry:
    """Evaluates a request, or goes on where an earlier run of it stopped.

    Raises:
        BenchError: The request cannot be met as it stands, or a finished shard cannot be written.
    """
    return _evaluated(request, listener)[0]


def run_shown(
    request: Request, listener: Listener | None = None
) -> tuple[Entry, bytes | None, bytes | None]:
    """The same with what goes beside the entry: example images as a PNG, and the file of kept images.

    Each is None where there are none.

    Raises:
        BenchError: As `run`.
    """
    entry, planned = _evaluated(request, listener)
    which = wanted_images(request.keep_images, planned.ready.protocol.name)
    entry, images = with_kept(entry, planned, which)
    return *with_examples(entry, planned), images


def _evaluated(request: Request, listener: Listener | None) -> tuple[Entry, Planned]:
    """Runs what is not done of a request, which must be no slice's; the entry, and what it is made of."""
    if request.slice is not None:
        raise BenchError(
            f"slice {request.slice} makes shards and no entry: use run_slice, or run without a slice"
        )
    planned = plan_of(request)
    results, ready = _run_all(planned, planned.shards, listener), planned.ready
    evaluated = Run(
        task=ready.task,
        label=ready.label,
        is_stochastic=ready.is_stochastic,
        gradient=ready.gradient.value,
        measured=ready.measured,
        indices=ready.order,
        labels=tuple(ready.dataset.labels("test")[torch.tensor(ready.order)].tolist()),
        training=tuple(stage.provenance for stage in ready.stages),
        protocol=ready.protocol,
        rows=planned.rows,
        results=results,
        skipped=planned.skipped,
        command=command_of(ready),
        examination=examine_once(ready, planned.rows, results),
    )
    return assemble(evaluated), planned


@dataclass(frozen=True, slots=True)
class Sliced:
    """What a slice of a run did, and what is still to be done.

    Args:
        label: The published name of the defense.
        model: The classifier's name.
        images: How many images were its own; none where there are more slices than shards.
        shards: How many shards were, over all jobs.
        total: How many shards the whole run has.
        left: How many of them are not there yet.
        waiting: The slices that they belong to.
    """

    label: str
    model: str
    images: int
    shards: int
    total: int
    left: int
    waiting: tuple[Slice, ...]


def run_slice(request: Request, listener: Listener | None = None) -> Sliced:
    """Does the shards of the request's slice that are not done; the whole run then finds them in `runs`.

    Raises:
        BenchError: The request cannot be met as it stands, has no slice, or a shard cannot be written.
    """
    if request.slice is None:
        raise BenchError("run_slice needs a slice, such as Slice(2, 8)")
    planned = plan_of(request)
    starts: dict[int, int] = {}
    for shard in planned.shards:  # a diagnosis may stop before its shard's end
        starts[shard.start] = max(shard.stop, starts.get(shard.start, 0))
    own = request.slice.own(starts)
    mine = [shard for shard in planned.shards if shard.start in own]
    _run_all(planned, mine, listener)
    left = [
        shard.start
        for shard in planned.shards
        if not planned.store.holds(shard.job, shard.start, shard.stop)
    ]
    return Sliced(
        label=planned.ready.label,
        model=planned.ready.classifier.name,
        images=sum(starts[start] - start for start in own),
        shards=len(mine),
        total=len(planned.shards),
        left=len(left),
        waiting=tuple(request.slice.siblings_of(starts, left)),
    )


def _run_all(
    planned: Planned, shards: Sequence[Shard], listener: Listener | None
) -> dict[str, tuple[Result, ...]]:
    told, crew = listener or Listener(), crew_of(planned.ready)
    told.on_plan(shards)
    return run_shards(planned.bench, shards, planned.store, crew=crew, on_done=told.on_done)
