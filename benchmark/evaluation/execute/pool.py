"""Worker processes as an executor: the device of each, and the bench of its own that it builds there."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import cloudpickle
import torch
from loky import ProcessPoolExecutor
from loky.process_executor import BrokenProcessPool
from numpy.typing import NDArray

from benchmark.compute.determinism import cores, device_of, fix_numerics
from benchmark.compute.interrupts import withheld_from_children
from benchmark.compute.memory import free_memory
from benchmark.compute.own_packages import current_folder_last, forget_order
from benchmark.errors import BenchError
from benchmark.evaluation.execute.executor import Done, Executor, InProcess, Lost, compute
from benchmark.evaluation.execute.shard_queue import Shard
from benchmark.evaluation.execute.store import Store
from benchmark.evaluation.prepare.bench import Bench
from benchmark.files.temporary import put, temporary_folder
from benchmark.records.result import Result

_BEGUN = "begun-"
_DIED = "its worker process died (killed, or out of memory)"
_NO_WORKER = (
    "worker processes end before they begin (killed, or out of memory); use fewer --workers, or allow more "
    "memory (ulimit -v, the limit of the job); what was finished is kept"
)
_PATIENCE = 100
"""Tenths of a second in which a dead worker's number becomes free."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workers:
    """Who does the work.

    Args:
        workers: Processes; 1 computes in this one.
        devices: Where; the workers take turns.
        bench_on: Makes a bench on one of the devices. None: each worker gets a copy of the caller's, as it does
            on the CPU, where tensors travel as they are.
    """

    workers: int = 1
    devices: tuple[torch.device, ...] = (torch.device("cpu"),)
    bench_on: Callable[[torch.device], Bench] | None = None

    @property
    def threads(self) -> int:
        """Of torch's loops in each worker, so that all of them together have one a core."""
        return max(1, cores() // self.workers)

    @contextmanager
    def as_one_worker(self) -> Iterator[None]:
        """Computes in this process with as many threads as one of several workers has."""
        before = torch.get_num_threads()
        if self.workers > 1:
            torch.set_num_threads(self.threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)

    def packed(self, bench: Bench) -> bytes:
        """What `unpacked` makes a worker's bench from.

        Args:
            bench: The caller's.
        """
        is_elsewhere = len(self.devices) > 1 or self.devices[0].type != "cpu"
        made = self.bench_on if is_elsewhere else None
        content: bytes = cloudpickle.dumps((made, self.devices, None if made else bench))
        return content


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


def unpacked(packed: bytes, worker: int) -> Bench:
    """The bench of the worker of a number, from 0.

    Raises:
        BenchError: It cannot be made on that worker's device.
    """
    made, devices, bench = cloudpickle.loads(packed)
    found: Bench = made(device_of(worker, devices)) if made else bench
    return found


def claim_number(folder: Path, workers: int) -> int:
    """A number from 0 that no living worker has; it is free again as soon as this process has ended.

    Args:
        folder: The same for all workers of a crew.
        workers: How many numbers there are.
    """
    for _ in range(_PATIENCE):
        for number in range(workers):
            file = os.open(folder / f"worker-{number}", os.O_CREAT | os.O_RDWR)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(file)
            else:
                return number  # the file stays open, and so the lock held, as long as this process lives
        time.sleep(0.1)
    return os.getpid() % workers  # a worker too many for a while: it shares a device
