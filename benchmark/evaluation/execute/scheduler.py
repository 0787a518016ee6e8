"""The scheduler: which shards are still to be computed, in which order, and what becomes of each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import cache

from torch import Tensor

from benchmark.engine.dataset import pixels_sha256
from benchmark.evaluation.execute.executor import Executor, Lost, failed
from benchmark.evaluation.execute.fingerprints import Fingerprints
from benchmark.evaluation.execute.pool import executors
from benchmark.evaluation.execute.shard_queue import Place, Shard, ShardQueue
from benchmark.evaluation.execute.store import Store
from benchmark.evaluation.execute.workers import Workers
from benchmark.evaluation.prepare.bench import Bench
from benchmark.files.temporary import clear_up
from benchmark.records.result import Result, Status

OnDone = Callable[[Shard, Result, bool], None]
"""Called for each finished shard: the shard, its result, and whether it had been done before."""


def run_shards(
    bench: Bench, shards: Sequence[Shard], store: Store, *, crew: Workers, on_done: OnDone
) -> dict[str, tuple[Result, ...]]:
    """Runs what is not done yet and returns every result, by job key, in the shards' order.

    A shard that crashes becomes a failed result, which is not kept, so that the next run tries it again. A
    finished one is used where its images and the fingerprints of its victims are what they were.

    Args:
        bench: What the run consists of.
        shards: As `shards_of` gives them.
        store: Where finished shards are, and are put.
        crew: Who does the work.
        on_done: Told of each finished shard.

    Raises:
        BenchError: A finished shard cannot be written.
    """
    clear_up(store.folder)
    scheduler = _Scheduler(store, on_done)

    @cache  # images are decoded once a shard, and only where there is a result to compare them with
    def pixels(start: int, stop: int) -> str:
        x, y, _ = bench.images(start, stop)
        return pixels_sha256(x, y.tolist())

    fingerprints, todo = Fingerprints(bench, store, shards, crew=crew), []
    for shard in shards:
        found = store.load(shard.job, shard.start, shard.stop)
        is_of_images = found and found.pixels_sha256 == pixels(shard.start, shard.stop)
        if found and is_of_images and fingerprints.allow(shard, found):
            scheduler.add(shard, found, was_done=True)
        else:
            todo.append(replace(shard, fingerprints=fingerprints.of(shard)))
    fingerprints.say()
    crew = replace(crew, workers=max(1, min(crew.workers, len(todo))))
    with executors(bench, store, crew) as opened:
        scheduler.run(todo, opened, crew.workers)
    return scheduler.by_job(shards)


class _Scheduler:
    """What becomes of the shards of a run.

    Args:
        store: Where they are put.
        on_done: Told of each finished shard.
    """

    def __init__(self, store: Store, on_done: OnDone) -> None:
        self._store = store
        self._on_done = on_done
        self._results: dict[Place, Result] = {}
        self._failed: dict[Place, str] = {}

    def _keep(self, shard: Shard, result: Result, images: Tensor | None) -> None:
        """Writes what an executor found, and takes it up.

        Raises:
            BenchError: It cannot be written.
        """
        if images is not None:
            self._store.save(shard.job, result, images)
        self.add(shard, result)

    def add(self, shard: Shard, result: Result, *, was_done: bool = False) -> None:
        """Takes up a shard's result."""
        self._results[shard.place] = result
        if result.status is Status.FAILED:
            self._failed[shard.place] = shard.row.id
        self._on_done(shard, result, was_done)

    def _stopped(self, shard: Shard) -> Result | None:
        """The failure of a shard one of whose sources failed; None where none did."""
        for source in shard.sources:
            if source in self._failed:
                name = self._failed[source]
                return failed(shard, f"the images of {name} are missing: that job failed")
        return None

    def run(self, todo: Sequence[Shard], opened: Callable[[int], Executor], workers: int) -> None:
        """Finishes shards, each begun as soon as its sources are finished and there is room.

        Those that are lost are each tried once alone, so that the culprit is known; the others go on.

        Args:
            todo: Not done yet.
            opened: Opens an executor with so many workers.
            workers: How many there are.
        """
        left = list(todo)
        while left:
            suspects, left = self._until_a_loss(left, opened(workers))
            for suspect in suspects:
                for lost in self._until_a_loss([suspect.shard], opened(1))[0]:
                    self.add(lost.shard, failed(lost.shard, lost.reason))

    def _until_a_loss(
        self, todo: Sequence[Shard], executor: Executor
    ) -> tuple[list[Lost], list[Shard]]:
        """Runs shards; where some are lost, begins no more, and returns these and those not begun."""
        queue, under_way = ShardQueue(todo), 0
        lost: list[Lost] = []
        try:
            while under_way or (queue and not lost):
                if not lost:
                    under_way += self._begin(queue, executor, executor.size - under_way)
                for each in executor.wait():
                    under_way -= 1
                    if isinstance(each, Lost):
                        lost.append(each)
                    else:
                        self._keep(*each)
                        queue.finish(each[0])
        finally:
            executor.close()
        return lost, queue.left()

    def _begin(self, queue: ShardQueue, executor: Executor, room: int) -> int:
        """Submits shards while there is room, no more, so that what is under way is known; how many."""
        begun = 0
        while begun < room and (shard := queue.begin()):
            if stopped := self._stopped(shard):
                self.add(shard, stopped)
                queue.finish(shard)
            else:
                executor.submit(shard)
                begun += 1
        return begun

    def by_job(self, shards: Iterable[Shard]) -> dict[str, tuple[Result, ...]]:
        """The results of shards by their job's key, in the shards' order."""
        found: dict[str, list[Result]] = {}
        for shard in shards:
            found.setdefault(shard.job.key, []).append(self._results[shard.place])
        return {key: tuple(results) for key, results in found.items()}
