"""An attack without a job: on a target of one's own it finds what a shard of a run finds."""

import torch

from attacks.pgd import PGD
from benchmark.engine.attacking.target import Target
from benchmark.engine.criterion import Rule
from benchmark.engine.judging.verdict import judge
from benchmark.engine.randomness import Draws
from benchmark.evaluation.execute.shard import run_shard
from benchmark.evaluation.prepare.make_bench import bench_of
from benchmark.evaluation.prepare.plan import make_plan
from benchmark.evaluation.prepare.prepare import prepare
from tests.helpers.tiny_task import request


def test_it_finds_what_a_shard_of_a_run_finds(tmp_path):
    ready = prepare(request(tmp_path))
    bench, (rows, _) = bench_of(ready), make_plan(ready)
    job = next(row.job for row in rows if row.id == "pgd:exact")
    result, images = run_shard(bench, job, 0, 4)
    x, y, indices = bench.images(0, 4)
    task = ready.task
    draws = Draws.of(task.seed, indices, task.dataset, task.split)
    target = Target(ready.victim, classes=task.classes, eot=3, leaves_early=True)
    at = draws.at("attack", "pgd", "exact")
    candidates = PGD(steps=3)(target, x, y, threat=task.threat, draws=at)
    outcomes, chosen = judge(ready.victim, candidates, y, draws=draws, criterion=job.criterion)
    assert outcomes == result.outcomes
    assert set(outcomes) == set(Rule)
    assert torch.equal(chosen, images)
    assert (target.forwards, target.backwards) == (result.cost.forwards, result.cost.backwards)
