"""Crews: worker processes, the device of each, and what each builds its own bench from."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cloudpickle
import torch

from benchmark.compute.determinism import cores, device_of
from benchmark.evaluation.prepare.bench import Bench

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
