"""The local executor: runs the shards that are not done, in this process or in worker processes."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from pathlib import Path

import torch
from loky import ProcessPoolExecutor
from loky.process_executor import TerminatedWorkerError

from benchmark.containment import as_if_fresh, described
from benchmark.dataset import pixels_sha256
from benchmark.evaluated import Row
from benchmark.interrupts import withheld_from_children
from benchmark.job import Job
from benchmark.memory import free_memory
from benchmark.numerics import fix_numerics
from benchmark.results import Result, Status
from benchmark.running.crew import Crew, claim_number, unpacked
from benchmark.shard import Bench, run_shard
from benchmark.store import Store
from benchmark.temporary import clear_up, temporary_folder

log = logging.getLogger(__name__)

OnDone = Callable[["Task", Result, bool], None]
"""Called for each finished task: the task, its result, and whether it had been done before."""


@dataclass(frozen=True, slots=True)
class Task:
    """One shard of one job.

    Args:
        row: The job in its place in the protocol.
        start: First position in the order of images.
        stop: One past the last.
        needs: The jobs whose images of the same shard it takes.
    """

    row: Row
    start: int
    stop: int
    needs: tuple[Job, ...]

    @property
    def job(self) -> Job:
        """The job."""
        return self.row.job


def tasks_of(rows: Sequence[Row], n: int, shard_size: int) -> list[Task]:
    """Every shard of every job, jobs that others need before those, at boundaries fixed by `shard_size`.

    A job that stands in several rows is done once, in the first of them.
    """
    first: dict[str, Row] = {}
    for row in rows:
        first.setdefault(row.job.key, row)
    return [
        Task(row, start, stop, tuple(first[key].job for key in row.job.needs))
        for row in sorted(first.values(), key=lambda row: bool(row.job.needs))
        for start in range(0, row.images(n), shard_size)
        for stop in [min(start + shard_size, row.images(n))]
    ]


def run_tasks(
    bench: Bench, tasks: Sequence[Task], store: Store, *, crew: Crew, on_done: OnDone
) -> dict[str, tuple[Result, ...]]:
    """Runs what is not done yet and returns every result, by job key, in shard order.

    A task that crashes becomes a failed result, which is not kept, so that the next run tries it again.

    Args:
        bench: What the run consists of.
        tasks: As `tasks_of` gives them.
        store: Where finished shards are, and are put.
        crew: Who does the work.
        on_done: Told of each finished task.

    Raises:
        BenchError: A finished shard cannot be written.
    """
    clear_up(store.folder)
    done: dict[Task, Result] = {}

    @cache  # images are decoded once a shard, and only where there is a result to compare them with
    def pixels(start: int, stop: int) -> str:
        return _pixels(bench, start, stop)

    for task in tasks:
        found = store.load(task.job, task.start, task.stop)
        if found and found.pixels_sha256 == pixels(task.start, task.stop):
            done[task] = found
            on_done(task, found, True)
    todo = [task for task in tasks if task not in done]

    def finish(task: Task, result: Result) -> None:
        done[task] = result
        on_done(task, result, False)

    if crew.workers == 1 or len(todo) <= 1:
        for task in todo:
            finish(task, _stopped_by_source(task, done) or perform(bench, task, store))
    else:
        crew = replace(crew, workers=min(crew.workers, len(todo)))
        with temporary_folder() as folder:
            blob = folder / "bench.pkl"
            blob.write_bytes(crew.packed(bench))
            free_memory()  # what this process's GPU has cached, a worker may need
            _Race(blob, store, crew, done, finish).run(todo)
    keys = dict.fromkeys(task.job.key for task in tasks)
    return {key: tuple(done[task] for task in tasks if task.job.key == key) for key in keys}


def perform(bench: Bench, task: Task, store: Store) -> Result:
    """Runs one task and keeps its result; the one place where a crash is caught.

    Raises:
        BenchError: The finished shard cannot be written.
    """
    try:
        sources = [store.images(job, task.start, task.stop) for job in task.needs]
        with as_if_fresh(task.job.key, task.start):
            result, images = run_shard(
                bench,
                task.job,
                task.start,
                task.stop,
                sources=torch.cat(sources, dim=1) if sources else None,
            )
    except (Exception, SystemExit) as error:  # noqa: BLE001 (a crash is a named gap, and is tried again)
        log.debug("%s failed:\n%s", task.row.id, traceback.format_exc())
        return _failed(task, described(error))
    store.save(task.job, result, images)
    return result


@dataclass(frozen=True, slots=True)
class _Race:
    """Tasks in worker processes: each begins as soon as its sources are finished and a worker is free."""

    blob: Path
    store: Store
    crew: Crew
    done: dict[Task, Result]
    finish: Callable[[Task, Result], None]

    def run(self, todo: Sequence[Task]) -> None:
        """Finishes all tasks.

        Where a worker dies, those that were running are each tried again alone, so that the culprit is known;
        the others go on.
        """
        left = list(todo)
        while left:
            suspects, left = self._until_a_death(left, self.crew.workers)
            for task in suspects:
                if any(self._until_a_death([task], 1)):
                    reason = "its worker process died (killed, or out of memory)"
                    self.finish(task, _failed(task, reason))

    def _until_a_death(
        self, todo: Sequence[Task], workers: int
    ) -> tuple[Sequence[Task], list[Task]]:
        """Runs tasks; where a worker died, returns those that were running then, and those not begun."""
        waiting = list(todo)
        running: dict[Future[Result], Task] = {}
        crew = replace(self.crew, workers=workers)
        pool = ProcessPoolExecutor(
            max_workers=workers,
            initializer=_begin_worker,
            initargs=(crew.threads, os.getpid(), str(self.blob.parent)),
        )
        try:
            while waiting or running:
                for task in [task for task in waiting if _is_ready(task, waiting, running)]:
                    stopped = _stopped_by_source(task, self.done)
                    if stopped:
                        self.finish(task, stopped)
                    else:
                        with withheld_from_children():
                            future = pool.submit(
                                _perform_in_worker, str(self.blob), crew.workers, task, self.store
                            )
                        running[future] = task
                    waiting.remove(task)
                if not running:
                    continue
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    self.finish(running[future], future.result())
                    del running[future]
        except TerminatedWorkerError:
            suspects = list(running.values()) or waiting[:1]
            return suspects, [task for task in waiting if task not in suspects]
        finally:
            pool.shutdown(wait=True, kill_workers=True)
        return [], []


def _begin_worker(threads: int, caller: int, folder: str) -> None:
    """Fixes a worker's numerics and its temporary folder; it ends with its caller however that one ends."""
    fix_numerics(threads)
    tempfile.tempdir = folder  # what its attacks leave there goes with it

    def watch() -> None:
        while os.getppid() == caller:
            time.sleep(1.0)
        shutil.rmtree(folder, ignore_errors=True)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _is_ready(task: Task, waiting: list[Task], running: dict[Future[Result], Task]) -> bool:
    """Whether every source of a task is finished: none is still waiting or running."""
    unfinished = {(t.job.key, t.start) for t in (*waiting, *running.values())}
    return not any((job.key, task.start) in unfinished for job in task.needs)


def _perform_in_worker(blob: str, workers: int, task: Task, store: Store) -> Result:
    return perform(_bench_from(blob, workers), task, store)


@lru_cache(maxsize=1)
def _bench_from(blob: str, workers: int) -> Bench:
    path = Path(blob)
    return unpacked(path.read_bytes(), claim_number(path.parent, workers))


def _pixels(bench: Bench, start: int, stop: int) -> str:
    x, y, _ = bench.images(start, stop)
    return pixels_sha256(x, y.tolist())


def _stopped_by_source(task: Task, done: dict[Task, Result]) -> Result | None:
    failed = {(t.job.key, t.start): t.row.id for t, r in done.items() if r.status is Status.FAILED}
    for job in task.needs:
        name = failed.get((job.key, task.start))
        if name:
            return _failed(task, f"the images of {name} are missing: that job failed")
    return None


def _failed(task: Task, error: str) -> Result:
    return Result(
        job=task.job.key, start=task.start, stop=task.stop, status=Status.FAILED, error=error
    )
