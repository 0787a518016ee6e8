"""The scheduler's bookkeeping: each thing once a shard, sources first, and nothing that grows with the run."""

import itertools
import pickle
from collections import Counter
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from loky.process_executor import TerminatedWorkerError

import benchmark.records.job
from benchmark.engine.criterion import Outcome, Rule
from benchmark.evaluation.execute import scheduler
from benchmark.evaluation.execute.scheduler import run_tasks
from benchmark.evaluation.execute.shard_queue import Task, TaskQueue, tasks_of
from benchmark.evaluation.execute.store import Store
from benchmark.evaluation.execute.workers import Crew
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


def finished(task):
    outcomes = (Outcome(1.0, 0.5, "1"),) * (task.stop - task.start)
    return Result(
        job=task.job.key,
        start=task.start,
        stop=task.stop,
        status=Status.OK,
        outcomes=dict.fromkeys(Rule, outcomes),
    )


class Pool:
    """Workers that die of one task and finish all others at once; says what it was given."""

    deadly: tuple[str, int] | None = None

    def __init__(self, *, max_workers, **_):
        self.max_workers = max_workers
        self.begun = []
        Pool.made.append(self)

    def submit(self, _perform, blob, _workers, task, _store):
        done = Future()
        Path(blob).with_name(f"{scheduler._BEGUN}{len(Pool.made)}").touch()
        self.begun.append((task.row.id, task.start))
        if (task.row.id, task.start) == self.deadly:
            done.set_exception(TerminatedWorkerError("killed"))
        else:
            done.set_result(finished(task))
        return done

    def shutdown(self, **_): ...


@pytest.fixture
def pool(monkeypatch):
    monkeypatch.setattr(scheduler, "ProcessPoolExecutor", Pool)
    monkeypatch.setattr(scheduler, "perform", lambda bench, task, store: finished(task))
    monkeypatch.setattr(Pool, "made", [], raising=False)
    return monkeypatch


def run(tmp_path, shards, *, workers=2):
    tasks = tasks_of(rows(), shards * SIZE, SIZE)
    seen = []
    crew = Crew(workers=workers)
    results = run_tasks(
        bench_of(prepare(tiny.request(tmp_path))),
        tasks,
        Store(tmp_path),
        crew=crew,
        on_done=lambda task, *_: seen.append(task.place),
    )
    return tasks, results, seen


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("shards", [5, 50])
def test_a_key_is_hashed_once_a_job_and_a_shard_looked_up_once(tmp_path, pool, workers, shards):
    hashed, looked = Counter(), Counter()
    canonical, load, sources = benchmark.records.job.canonical, Store.load, Task.sources
    pool.setattr(benchmark.records.job, "canonical", lambda v: hashed.update("k") or canonical(v))
    pool.setattr(Store, "load", lambda *given: looked.update("l") or load(*given))
    pool.setattr(Task, "sources", property(lambda task: looked.update("s") or sources.fget(task)))
    tasks, _, seen = run(tmp_path, shards, workers=workers)
    jobs = {id(job): job for task in tasks for job in (task.job, *task.needs)}
    assert hashed["k"] <= len(jobs) + 1  # one in rows() itself
    assert looked["l"] == len(tasks) == 3 * shards
    assert looked["s"] <= 2 * len(tasks)
    assert sorted(seen) == sorted(task.place for task in tasks)


def test_results_come_by_job_in_the_order_of_shards(tmp_path, pool):
    tasks, results, _ = run(tmp_path, 7)
    assert set(results) == {task.job.key for task in tasks}
    for shards in results.values():
        assert [result.start for result in shards] == [SIZE * i for i in range(7)]


def test_a_worker_that_dies_takes_with_it_only_what_was_running(tmp_path, pool):
    pool.setattr(Pool, "deadly", ("made", 8))
    tasks, results, seen = run(tmp_path, 6)
    begun = Counter(itertools.chain.from_iterable(each.begun for each in Pool.made))
    assert begun["made", 8] == 2
    assert ("taking", 8) not in begun
    assert sum(times > 1 for times in begun.values()) <= 2  # of two workers
    assert [each.max_workers for each in Pool.made].count(1) <= 2
    failed = {r.start: r.error for shards in results.values() for r in shards if r.error}
    assert failed == {8: failed[8]}
    errors = [r.error for shards in results.values() for r in shards if r.error]
    assert sorted(errors) == [
        "its worker process died (killed, or out of memory)",
        "the images of made are missing: that job failed",
    ]
    assert len(seen) == len(tasks)


@given(st.integers(1, 6), st.randoms(use_true_random=False))
def test_a_queue_begins_every_task_once_and_none_before_its_sources(shards, random):
    tasks = tasks_of(rows(), shards * SIZE, SIZE)
    random.shuffle(tasks)
    queue, running, done = TaskQueue(tasks), [], set()
    while queue or running:
        if queue.first() and random.random() < 0.6:
            task = queue.begin()
            assert done.issuperset(task.sources)
            running.append(task)
        elif running:
            task = running.pop(random.randrange(len(running)))
            queue.finish(task)
            done.add(task.place)
        assert len(queue) == len(queue.left()) == len(tasks) - len(running) - len(done)
    assert done == {task.place for task in tasks}


def test_a_source_that_is_not_in_the_queue_is_waited_for_by_nobody():
    taking = [task for task in tasks_of(rows(), 8, SIZE) if task.needs]
    assert [TaskQueue(taking).first(), len(TaskQueue(taking))] == [taking[0], 2]


def test_a_key_is_kept_and_made_anew_for_another_job():
    job = tiny.job()
    assert job.key is job.key
    assert replace(job, seed=1).key != job.key
    assert replace(replace(job, seed=1), seed=0).key == job.key
    assert pickle.loads(pickle.dumps(job)).key == job.key
    assert job == tiny.job()
