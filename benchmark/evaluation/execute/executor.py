"""Executors: where shards are computed; what they find is written by the scheduler alone."""

from __future__ import annotations

import logging
import traceback
from dataclasses import dataclass, field, replace
from typing import Protocol

import torch
from torch import Tensor

from benchmark.compute.address_space import refuse_rationed
from benchmark.compute.sandbox import fresh_global_state, one_line
from benchmark.evaluation.execute.environment import environment
from benchmark.evaluation.execute.shard import run_shard
from benchmark.evaluation.execute.shard_queue import Shard
from benchmark.evaluation.execute.store import Store
from benchmark.evaluation.prepare.bench import Bench
from benchmark.records.result import Result, Status

log = logging.getLogger(__name__)

Done = tuple[Shard, Result, Tensor | None]
"""A shard, its result, and the images to keep of it, on the CPU; None where it failed."""


@dataclass(frozen=True, slots=True)
class Lost:
    """A shard of which nothing is known, since what computed it is gone.

    Args:
        shard: The shard, which may be the culprit or a victim.
        reason: One line: what is gone.
    """

    shard: Shard
    reason: str


class Executor(Protocol):
    """Computes shards, `size` at a time; it may read images from the store, and writes nothing there."""

    @property
    def size(self) -> int:
        """How many shards it computes at a time."""

    def submit(self, shard: Shard) -> None:
        """Takes a shard; no more of them than `size` are ever under way."""

    def wait(self) -> list[Done | Lost]:
        """Waits until something has become of a shard that was submitted; none where none is under way.

        Where one is lost, none is submitted any more; the others get their answer before it is closed.

        Raises:
            BenchError: Nothing can be computed here, whatever the shard.
        """

    def close(self) -> None:
        """Ends all that it began."""


@dataclass
class InProcess:
    """The executor that computes in this process, one shard at a time.

    Args:
        bench: What the run consists of.
        store: Where the images are that shards take.
    """

    bench: Bench
    store: Store
    size = 1
    _submitted: list[Shard] = field(default_factory=list)

    def submit(self, shard: Shard) -> None:
        """Takes a shard, which `wait` computes."""
        self._submitted.append(shard)

    def wait(self) -> list[Done | Lost]:
        """Computes what was submitted."""
        taken, self._submitted = self._submitted, []
        return [(shard, *compute(self.bench, shard, self.store)) for shard in taken]

    def close(self) -> None:
        """There is nothing to end."""


def compute(bench: Bench, shard: Shard, store: Store) -> tuple[Result, Tensor | None]:
    """A shard's result and the images to keep; the one place where a crash is caught.

    Raises:
        BenchError: A limit on memory stands in the way, whatever the shard.
    """
    try:
        sources = [store.images(job, shard.start, shard.stop) for job in shard.needs]
        with fresh_global_state(shard.job.key, shard.start):
            result, images = run_shard(
                bench,
                shard.job,
                shard.start,
                shard.stop,
                sources=torch.cat(sources, dim=1) if sources else None,
            )
    except (Exception, SystemExit) as error:  # noqa: BLE001 (a crash is a named gap, and is tried again)
        refuse_rationed(error)
        log.debug("%s failed:\n%s", shard.row.id, traceback.format_exc())
        return failed(shard, one_line(error)), None
    facts = environment(bench.device)
    found = replace(result, environment=facts, fingerprints=shard.fingerprints)
    return found, images.detach().cpu()


def failed(shard: Shard, error: str) -> Result:
    """The result of a shard that came to nothing."""
    return Result(
        job=shard.job.key, start=shard.start, stop=shard.stop, status=Status.FAILED, error=error
    )
