"""The scheduler's bookkeeping: each thing once a shard, sources first, and nothing that grows with the run."""

import itertools
import pickle
from collections import Counter
from concurrent.futures import Future
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from loky.process_executor import TerminatedWorkerError

import benchmark.records.job
from benchmark.engine.criterion import Outcome, Rule
from benchmark.evaluation.execute import executor, scheduler
from benchmark.evaluation.execute import pool as pool_module
from benchmark.evaluation.execute.executor import Lost
from benchmark.evaluation.execute.scheduler import run_shards
from benchmark.evaluation.execute.shard_queue import Shard, ShardQueue, shards_of
from benchmark.evaluation.execute.store import Store
from benchmark.evaluation.execute.workers import Workers
from benchmark.evaluation.prepare.make_bench import bench_of
from benchmark.evaluation.prepare.prepare import prepare
from benchmark.records.result import Result, Status
from tests.helpers import tiny_task as tiny

SIZE = 4


def rows():
    """A source, a job that takes its images, and one that takes nobody's."""
    row = tiny.one_row()
    made = replace(row, id="made", job=replace(row.job, is_source=True), column=None)
    taking = replace(row, id="taking", job=replace(row.job, needs=(made.job.key,)))
    return [taking, made, replace(row, id="alone")]


def finished(shard):
    outcomes = (Outcome(1.0, 0.5, "1"),) * (shard.stop - shard.start)
    return Result(
        job=shard.job.key,
        start=shard.start,
        stop=shard.stop,
        status=Status.OK,
        outcomes=dict.fromkeys(Rule, outcomes),
    )


class Pool:
    """Workers that die of one shard and finish all others at once; says what it was given."""

    deadly: tuple[str, int] | None = None

    def __init__(self, *, max_workers, **_):
        self.max_workers = max_workers
        self.begun = []
        Pool.made.append(self)

    def submit(self, _perform, blob, _workers, shard, _store):
        done = Future()
        Path(blob).with_name(f"{pool_module._BEGUN}{len(Pool.made)}").touch()
        self.begun.append((shard.row.id, shard.start))
        if (shard.row.id, shard.start) == self.deadly:
            done.set_exception(TerminatedWorkerError("killed"))
        else:
            done.set_result((finished(shard), None))
        return done

    def shutdown(self, **_): ...


@pytest.fixture
def pool(monkeypatch):
    monkeypatch.setattr(pool_module, "ProcessPoolExecutor", Pool)
    monkeypatch.setattr(executor, "compute", lambda bench, shard, store: (finished(shard), None))
    monkeypatch.setattr(Pool, "made", [], raising=False)
    return monkeypatch


def run(tmp_path, n, *, workers=2):
    shards = shards_of(rows(), n * SIZE, SIZE)
    seen = []
    crew = Workers(workers=workers)
    results = run_shards(
        bench_of(prepare(tiny.request(tmp_path))),
        shards,
        Store(tmp_path),
        crew=crew,
        on_done=lambda shard, *_: seen.append(shard.place),
    )
    return shards, results, seen


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("n", [5, 50])
def test_a_key_is_hashed_once_a_job_and_a_shard_looked_up_once(tmp_path, pool, workers, n):
    hashed, looked = Counter(), Counter()
    canonical, load, sources = benchmark.records.job.canonical, Store.load, Shard.sources
    pool.setattr(benchmark.records.job, "canonical", lambda v: hashed.update("k") or canonical(v))
    pool.setattr(Store, "load", lambda *given: looked.update("l") or load(*given))
    pool.setattr(
        Shard, "sources", property(lambda shard: looked.update("s") or sources.fget(shard))
    )
    shards, _, seen = run(tmp_path, n, workers=workers)
    jobs = {id(job): job for shard in shards for job in (shard.job, *shard.needs)}
    assert hashed["k"] <= len(jobs) + 1  # one in rows() itself
    assert looked["l"] == len(shards) == 3 * n
    assert looked["s"] <= 2 * len(shards)
    assert sorted(seen) == sorted(shard.place for shard in shards)


def test_results_come_by_job_in_the_order_of_shards(tmp_path, pool):
    shards, results, _ = run(tmp_path, 7)
    assert set(results) == {shard.job.key for shard in shards}
    for own in results.values():
        assert [result.start for result in own] == [SIZE * i for i in range(7)]


def test_a_worker_that_dies_takes_with_it_only_what_was_running(tmp_path, pool):
    pool.setattr(Pool, "deadly", ("made", 8))
    shards, results, seen = run(tmp_path, 6)
    begun = Counter(itertools.chain.from_iterable(each.begun for each in Pool.made))
    assert begun["made", 8] == 2
    assert ("taking", 8) not in begun
    assert sum(times > 1 for times in begun.values()) <= 2  # of two workers
    assert [each.max_workers for each in Pool.made].count(1) <= 2
    failed = {r.start: r.error for own in results.values() for r in own if r.error}
    assert failed == {8: failed[8]}
    errors = [r.error for own in results.values() for r in own if r.error]
    assert sorted(errors) == [
        "its worker process died (killed, or out of memory)",
        "the images of made are missing: that job failed",
    ]
    assert len(seen) == len(shards)


class Elsewhere:
    """An executor of somebody else's, three shards at a time, which always loses one of them."""

    opened: list[int]

    def __init__(self, workers):
        self.size = 3 if workers > 1 else 1
        self.under_way = []
        Elsewhere.opened.append(workers)

    def submit(self, shard):
        self.under_way.append(shard)
        assert len(self.under_way) <= self.size

    def wait(self):
        taken, self.under_way = self.under_way, []
        is_lost = any((shard.row.id, shard.start) == ("made", 4) for shard in taken)
        images = torch.zeros(SIZE, 1, *tiny.SHAPE)
        done = [(shard, finished(shard), images) for shard in taken]
        return [Lost(shard, "its node is gone") for shard in taken] if is_lost else done

    def close(self):
        assert not self.under_way


def test_what_any_executor_finds_is_written_and_what_it_loses_is_tried_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(Elsewhere, "opened", [], raising=False)
    monkeypatch.setattr(scheduler, "executors", lambda *_: nullcontext(Elsewhere))
    shards, results, _ = run(tmp_path, 4)
    assert Elsewhere.opened == [2, 1, 1, 1, 2]
    failed = [r for own in results.values() for r in own if r.error]
    assert sorted(r.error for r in failed) == [
        "its node is gone",
        "the images of made are missing: that job failed",
    ]
    written = [s for s in shards if Store(tmp_path).holds(s.job, s.start, s.stop)]
    assert len(written) == len(shards) - len(failed)


@given(st.integers(1, 6), st.randoms(use_true_random=False))
def test_a_queue_begins_every_shard_once_and_none_before_its_sources(n, random):
    shards = shards_of(rows(), n * SIZE, SIZE)
    random.shuffle(shards)
    queue, running, done = ShardQueue(shards), [], set()
    while queue or running:
        if random.random() < 0.6 and (shard := queue.begin()):
            assert done.issuperset(shard.sources)
            running.append(shard)
        elif running:
            shard = running.pop(random.randrange(len(running)))
            queue.finish(shard)
            done.add(shard.place)
        assert len(queue) == len(queue.left()) == len(shards) - len(running) - len(done)
    assert done == {shard.place for shard in shards}


def test_a_source_that_is_not_in_the_queue_is_waited_for_by_nobody():
    taking = [shard for shard in shards_of(rows(), 8, SIZE) if shard.needs]
    queue = ShardQueue(taking)
    assert len(queue) == 2
    assert [queue.begin(), queue.begin(), queue.begin()] == [*taking, None]


def test_a_key_is_kept_and_made_anew_for_another_job():
    job = tiny.job()
    assert job.key is job.key
    assert replace(job, eot=2).key != job.key
    assert replace(replace(job, eot=2), eot=1).key == job.key
    assert pickle.loads(pickle.dumps(job)).key == job.key
    assert job == tiny.job()
