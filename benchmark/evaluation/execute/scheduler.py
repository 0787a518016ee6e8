"""The local executor: runs the shards that are not done, in this process or in worker processes."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from pathlib import Path

import torch
from loky import ProcessPoolExecutor
from loky.process_executor import BrokenProcessPool

from benchmark.compute.address_space import refuse_rationed
from benchmark.compute.determinism import fix_numerics
from benchmark.compute.interrupts import withheld_from_children
from benchmark.compute.memory import free_memory
from benchmark.compute.sandbox import as_if_fresh, described
from benchmark.engine.dataset import pixels_sha256
from benchmark.errors import BenchError
from benchmark.evaluation.execute.environment import environment
from benchmark.evaluation.execute.fingerprints import Fingerprints
from benchmark.evaluation.execute.shard import run_shard
from benchmark.evaluation.execute.shard_queue import Place, Task, TaskQueue
from benchmark.evaluation.execute.store import Store
from benchmark.evaluation.execute.workers import Crew, claim_number, unpacked
from benchmark.evaluation.prepare.bench import Bench
from benchmark.files.temporary import clear_up, put, temporary_folder
from benchmark.own_packages import current_folder_last, forget_order
from benchmark.records.result import Result, Status

log = logging.getLogger(__name__)

_BEGUN = "begun-"
_NO_WORKER = (
    "worker processes end before they begin (killed, or out of memory); use fewer --workers, or allow more "
    "memory (ulimit -v, the limit of the job); what was finished is kept"
)

OnDone = Callable[[Task, Result, bool], None]
"""Called for each finished task: the task, its result, and whether it had been done before."""


def run_tasks(
    bench: Bench, tasks: Sequence[Task], store: Store, *, crew: Crew, on_done: OnDone
) -> dict[str, tuple[Result, ...]]:
    """Runs what is not done yet and returns every result, by job key, in shard order.

    A task that crashes becomes a failed result, which is not kept, so that the next run tries it again. A
    finished shard is used where its images and the fingerprints of its victims are what they were.

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
    finished = _Finished(on_done)

    @cache  # images are decoded once a shard, and only where there is a result to compare them with
    def pixels(start: int, stop: int) -> str:
        return _pixels(bench, start, stop)

    fingerprints, todo = Fingerprints(bench, store, tasks, crew=crew), []
    for task in tasks:
        found = store.load(task.job, task.start, task.stop)
        is_of_images = found and found.pixels_sha256 == pixels(task.start, task.stop)
        if found and is_of_images and fingerprints.allow(task, found):
            finished.add(task, found, was_done=True)
        else:
            todo.append(replace(task, fingerprints=fingerprints.of(task)))
    fingerprints.say()
    if crew.workers == 1 or len(todo) <= 1:
        for task in todo:
            finished.add(task, finished.stopped(task) or perform(bench, task, store))
    else:
        crew = replace(crew, workers=min(crew.workers, len(todo)))
        with temporary_folder() as folder:
            blob = folder / "bench.pkl"
            put(blob, crew.packed(bench))
            free_memory()  # what this process's GPU has cached, a worker may need
            _Race(blob, store, crew, finished).run(todo)
    return finished.by_job(tasks)


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
        refuse_rationed(error)
        log.debug("%s failed:\n%s", task.row.id, traceback.format_exc())
        return _failed(task, described(error))
    result = replace(result, environment=environment(bench.device), fingerprints=task.fingerprints)
    store.save(task.job, result, images)
    return result


class _Finished:
    """What became of the tasks of a run so far.

    Args:
        on_done: Told of each finished task.
    """

    def __init__(self, on_done: OnDone) -> None:
        self._on_done = on_done
        self._results: dict[Place, Result] = {}
        self._failed: dict[Place, str] = {}

    def add(self, task: Task, result: Result, *, was_done: bool = False) -> None:
        """Takes up a task's result."""
        self._results[task.place] = result
        if result.status is Status.FAILED:
            self._failed[task.place] = task.row.id
        self._on_done(task, result, was_done)

    def stopped(self, task: Task) -> Result | None:
        """The failure of a task one of whose sources failed; None where none did."""
        for source in task.sources:
            if source in self._failed:
                name = self._failed[source]
                return _failed(task, f"the images of {name} are missing: that job failed")
        return None

    def by_job(self, tasks: Iterable[Task]) -> dict[str, tuple[Result, ...]]:
        """The results of tasks by their job's key, in the tasks' order."""
        found: dict[str, list[Result]] = {}
        for task in tasks:
            found.setdefault(task.job.key, []).append(self._results[task.place])
        return {key: tuple(results) for key, results in found.items()}


@dataclass(frozen=True, slots=True)
class _Race:
    """Tasks in worker processes: each begins as soon as its sources are finished and a worker is free."""

    blob: Path
    store: Store
    crew: Crew
    finished: _Finished

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
                    self.finished.add(task, _failed(task, reason))

    def _until_a_death(
        self, todo: Sequence[Task], workers: int
    ) -> tuple[Sequence[Task], list[Task]]:
        """Runs tasks; where a worker died, returns those that were running then, and those not begun."""
        queue = TaskQueue(todo)
        running: dict[Future[Result], Task] = {}
        crew, before = replace(self.crew, workers=workers), self._begun()
        pool = ProcessPoolExecutor(
            max_workers=workers,
            initializer=_begin_worker,
            initargs=(crew.threads, os.getpid(), str(self.blob.parent)),
        )
        try:
            while queue or running:
                self._begin(queue, running, pool, workers)
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    self.finished.add(running[future], future.result())
                    queue.finish(running.pop(future))
        except BrokenProcessPool as error:
            if workers == 1 and self._begun() == before:  # no task's fault, nor a single kill's
                raise BenchError(_NO_WORKER) from error
            left = queue.left()
            return (list(running.values()), left) if running else (left[:1], left[1:])
        finally:
            pool.shutdown(wait=True, kill_workers=True)
        return [], []

    def _begun(self) -> set[Path]:
        """A file for each worker that has ever begun."""
        return set(self.blob.parent.glob(f"{_BEGUN}*"))

    def _begin(
        self,
        queue: TaskQueue,
        running: dict[Future[Result], Task],
        pool: ProcessPoolExecutor,
        workers: int,
    ) -> None:
        """Gives each free worker a task: no more than that, so that what is running is known."""
        while len(running) < workers and (task := queue.first()):
            stopped = self.finished.stopped(task)
            if stopped:
                self.finished.add(task, stopped)
                queue.finish(queue.begin())
                continue
            with withheld_from_children(), current_folder_last():
                future = pool.submit(_perform_in_worker, str(self.blob), workers, task, self.store)
            running[future] = queue.begin()


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


def _perform_in_worker(blob: str, workers: int, task: Task, store: Store) -> Result:
    return perform(_bench_from(blob, workers), task, store)


@lru_cache(maxsize=1)
def _bench_from(blob: str, workers: int) -> Bench:
    path = Path(blob)
    return unpacked(path.read_bytes(), claim_number(path.parent, workers))


def _pixels(bench: Bench, start: int, stop: int) -> str:
    x, y, _ = bench.images(start, stop)
    return pixels_sha256(x, y.tolist())


def _failed(task: Task, error: str) -> Result:
    return Result(
        job=task.job.key, start=task.start, stop=task.stop, status=Status.FAILED, error=error
    )
