"""A request made ready, with all that is to be done for it, and where what was done is kept."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from benchmark.compute.determinism import default_workers, devices_like, fix_numerics
from benchmark.evaluation.execute.measure import measure_gradients
from benchmark.evaluation.execute.pool import Workers
from benchmark.evaluation.execute.shard_queue import Shard, shards_of
from benchmark.evaluation.execute.store import Store
from benchmark.evaluation.prepare.bench import Bench
from benchmark.evaluation.prepare.plan import make_plan
from benchmark.evaluation.prepare.prepare import Prepared, bench_of, bench_on, portable, prepare
from benchmark.evaluation.prepare.probing import probe
from benchmark.evaluation.prepare.request import Request
from benchmark.records.job import Job
from benchmark.records.missing_rows import Missing
from benchmark.records.run import PlannedAttack

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Planned:
    """A request made ready, with all that is to be done for it.

    Args:
        ready: The prepared request.
        bench: What its jobs are done with.
        rows: Its plan.
        skipped: Rows that could not be planned.
        shards: Those of all jobs.
        store: Where finished ones are, with their images.
    """

    ready: Prepared
    bench: Bench
    rows: tuple[PlannedAttack, ...]
    skipped: Mapping[str, Missing]
    shards: Sequence[Shard]
    store: Store

    def images(self, job: Job, at: int) -> tuple[int, Tensor]:
        """First position and images `(b, r, c, h, w)` of the shard of a job that holds a position.

        Raises:
            BenchError: It is not finished.
        """
        for each in self.shards:
            if each.start <= at < each.stop and each.job.key == job.key:
                return each.start, self.store.images(job, each.start, each.stop)
        raise ValueError(f"no shard of {job.row!r} holds image {at}")


def plan_of(request: Request, *, keeps: bool = True) -> Planned:
    """Prepares a request and plans it; says what its purifiers were trained for, where that is something else.

    Args:
        request: What is asked for.
        keeps: Whether what is measured for the plan is written beside the shards.

    Raises:
        BenchError: The request cannot be met as it stands.
    """
    fix_numerics()
    ready = probe(prepare(request))
    ready = replace(ready, measured=measure_gradients(ready, keeps=keeps))
    for line in ready.notices:
        log.warning("%s", line)
    rows, skipped = make_plan(ready)
    shards = shards_of(rows, len(ready.order), ready.protocol.shard_size)
    return Planned(ready, bench_of(ready), tuple(rows), skipped, shards, Store(request.runs))


def crew_of(ready: Prepared) -> Workers:
    """Who computes: as many workers as asked for, else one a core on the CPU, one a GPU."""
    devices = devices_like(ready.device, torch.cuda.device_count())
    return Workers(
        workers=ready.request.workers or default_workers(devices),
        devices=devices,
        bench_on=partial(bench_on, portable(ready.request), conduct=ready.conduct),
    )
