"""Worker processes as an executor, each with a bench of its own."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from loky import ProcessPoolExecutor
from loky.process_executor import BrokenProcessPool
from numpy.typing import NDArray

from benchmark.compute.determinism import fix_numerics
from benchmark.compute.interrupts import withheld_from_children
from benchmark.compute.memory import free_memory
from benchmark.compute.own_packages import current_folder_last, forget_order
from benchmark.errors import BenchError
from benchmark.evaluation.execute.executor import Done, Executor, InProcess, Lost, compute
from benchmark.evaluation.execute.shard_queue import Shard
from benchmark.evaluation.execute.store import Store
from benchmark.evaluation.execute.workers import Workers, claim_number, unpacked
from benchmark.evaluation.prepare.bench import Bench
from benchmark.files.temporary import put, temporary_folder
from benchmark.records.result import Result

_BEGUN = "begun-"
_DIED = "its worker process died (killed, or out of memory)"
_NO_WORKER = (
    "worker processes end before they begin (killed, or out of memory); use fewer --workers, or allow more "
    "memory (ulimit -v, the limit of the job); what was finished is kept"
)


@contextmanager
def executors(bench: Bench, store: Store, crew: Workers) -> Iterator[Callable[[int], Executor]]:
    """What opens executors with so many workers, for as long as a run lasts.

    Args:
        bench: What the run consists of.
        store: Where the images are that shards take.
        crew: Who does the work.
    """
    if crew.workers == 1:
        yield lambda _: InProcess(bench, store)
        return
    with temporary_folder() as folder:
        put(folder / "bench.pkl", crew.packed(bench))
        free_memory()  # what this process's GPU has cached, a worker may need
        yield lambda workers: Pool(folder, store, replace(crew, workers=workers))


class Pool:
    """The executor of one machine: worker processes, which take turns on its devices.

    Args:
        folder: Where the packed bench is, and what workers leave.
        store: Where the images are that shards take.
        crew: Who does the work.
    """

    def __init__(self, folder: Path, store: Store, crew: Workers) -> None:
        self.size = crew.workers
        self._blob = folder / "bench.pkl"
        self._store = store
        self._running: dict[Future[tuple[Result, NDArray[Any] | None]], Shard] = {}
        self._before = self._begun()
        self._pool = ProcessPoolExecutor(
            max_workers=crew.workers,
            initializer=_begin_worker,
            initargs=(crew.threads, os.getpid(), str(folder)),
        )

    def submit(self, shard: Shard) -> None:
        """Gives a shard to a free worker."""
        task = (_compute_in_worker, str(self._blob), self.size, shard, self._store)
        try:
            with withheld_from_children(), current_folder_last():
                future = self._pool.submit(*task)
        except BrokenProcessPool as error:  # a worker died since the last answer
            future = Future()
            future.set_exception(error)
        self._running[future] = shard

    def wait(self) -> list[Done | Lost]:
        """Waits for an answer; where a worker died, all shards under way are lost.

        Raises:
            BenchError: The only worker ended before it began: no shard's fault, nor a single kill's.
        """
        found: list[Done | Lost] = []
        is_broken = False
        for future in wait(self._running, return_when=FIRST_COMPLETED).done:
            try:
                result, images = future.result()
            except BrokenProcessPool:
                is_broken = True
                continue
            shard = self._running.pop(future)
            found.append((shard, result, None if images is None else torch.from_numpy(images)))
        if is_broken:
            if self.size == 1 and self._begun() == self._before:
                raise BenchError(_NO_WORKER)
            found += [Lost(shard, _DIED) for shard in self._running.values()]
            self._running = {}
        return found

    def close(self) -> None:
        """Ends the workers."""
        self._pool.shutdown(wait=True, kill_workers=True)

    def _begun(self) -> set[Path]:
        """A file for each worker that has ever begun."""
        return set(self._blob.parent.glob(f"{_BEGUN}*"))


def _begin_worker(threads: int, caller: int, folder: str) -> None:
    """Fixes a worker's numerics and its temporary folder; it ends with its caller however that one ends."""
    forget_order()
    fix_numerics(threads)
    tempfile.tempdir = folder  # what its attacks leave there goes with it

    def watch() -> None:
        while os.getppid() == caller:
            time.sleep(1.0)
        shutil.rmtree(folder, ignore_errors=True)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    Path(folder, f"{_BEGUN}{os.getpid()}").touch()


def _compute_in_worker(
    blob: str, workers: int, shard: Shard, store: Store
) -> tuple[Result, NDArray[Any] | None]:
    """A shard's result and images, as an array: a tensor's memory is its process's own."""
    result, images = compute(_bench_from(blob, workers), shard, store)
    return result, None if images is None else images.numpy()


@lru_cache(maxsize=1)
def _bench_from(blob: str, workers: int) -> Bench:
    path = Path(blob)
    return unpacked(path.read_bytes(), claim_number(path.parent, workers))
