"""A batch without a job: an attack on images is computed as for a shard of a run, and leaves nothing behind."""

import torch

from attacks.pgd import PGD
from benchmark.engine.criterion import Rule
from benchmark.engine.judging.attack_batch import AttackBatch
from benchmark.engine.randomness import Draws
from benchmark.evaluation.execute.shard import run_shard
from benchmark.evaluation.prepare.plan import make_plan
from benchmark.evaluation.prepare.prepare import bench_of, prepare
from tests.helpers.tiny_task import request


def test_it_finds_what_a_shard_of_a_run_finds(tmp_path):
    ready = prepare(request(tmp_path))
    bench, (rows, _) = bench_of(ready), make_plan(ready)
    job = next(row.job for row in rows if row.id == "pgd:exact")
    result, images = run_shard(bench, job, 0, 4)
    x, y, indices = bench.images(0, 4)
    task = ready.task
    found = AttackBatch(
        victim=ready.victim,
        attack=PGD(steps=3),
        threat=task.threat,
        x=x,
        y=y,
        draws=Draws.of(task.seed, indices, task.dataset, task.split),
        classes=task.classes,
        eot=3,
        criterion=job.criterion,
    ).run()
    assert found.outcomes == result.outcomes
    assert set(found.outcomes) == set(Rule)
    assert torch.equal(found.chosen, images)
    assert (found.output.forwards, found.output.backwards) == (
        result.cost.forwards,
        result.cost.backwards,
    )
