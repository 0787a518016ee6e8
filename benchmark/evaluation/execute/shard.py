"""One shard of one job: the job as a batch for its attack, and what that found as a result."""

from __future__ import annotations

import json

from torch import Tensor

from benchmark.compute.determinism import begin_measuring, peak_memory
from benchmark.engine.attacking.attack import Attack
from benchmark.engine.dataset import pixels_sha256
from benchmark.engine.judging.attack_batch import AttackBatch
from benchmark.engine.judging.verdict import ROWS
from benchmark.engine.randomness import Draws
from benchmark.engine.victims.victim import GradientMode
from benchmark.evaluation.prepare.bench import Bench
from benchmark.plugins import ATTACKS
from benchmark.records.job import MIXED, Job
from benchmark.records.result import Result, ShardCost, Status


def run_shard(
    bench: Bench, job: Job, start: int, stop: int, *, sources: Tensor | None = None
) -> tuple[Result, Tensor]:
    """Attacks and judges the images `start` to `stop` of the order.

    Args:
        bench: What the run consists of.
        job: The attack and its victim.
        start: First position in the order.
        stop: One past the last.
        sources: Images of the jobs that this one needs, `(b, m, c, h, w)`.

    Returns:
        The result, and the images to keep: all candidates `(b, m, c, h, w)` of a source, else those chosen
        under each rule, `(b, r, c, h, w)` as `judge` gives them.

    Raises:
        ContractBroken: A plugin broke its contract.
    """
    task, attack = job.task, attack_of(job)
    x, y, indices = bench.images(start, stop)
    rows = job.fixed_batch if job.is_uncut else bench.batch_size
    verdict = f"verdict on {job.defenses} {job.classifier.name}"
    batch = AttackBatch(
        victim=bench.victim_of(job),
        attack=attack,
        threat=task.threat,
        x=x,
        y=y,
        draws=Draws.of(task.seed, indices, task.dataset, task.split),
        classes=task.classes,
        mode=GradientMode(job.gradient),
        eot=job.eot,
        criterion=job.criterion,
        is_mixed=task.precision == MIXED,
        is_source=job.is_source,
        is_last=job.is_last,
        batch_size=job.fixed_batch or bench.batch_size,
        sources=sources,
        seeds=bench.seeds(attack.seeds),
        room_of=lambda place: bench.room(f"{place} {job.key}", rows, is_uncut=job.is_uncut),
        verdict_room=bench.room(verdict, ROWS, is_uncut=job.is_uncut),
    )
    begin_measuring(bench.device)
    judged = batch.run()
    spent = judged.output
    result = Result(
        job=job.key,
        start=start,
        stop=stop,
        status=Status.OK,
        outcomes=judged.outcomes,
        cost=ShardCost(
            forwards=spent.forwards,
            backwards=spent.backwards,
            seconds=judged.seconds,
            peak_bytes=peak_memory(bench.device),
        ),
        trace=spent.trace,
        warnings=spent.warnings,
        context=judged.context,
        zero_gradients=spent.zero_gradients / max(1, spent.gradients),
        pixels_sha256=pixels_sha256(x, y.tolist()),
    )
    return result, spent.candidates if job.is_source else judged.chosen


def attack_of(job: Job) -> Attack:
    """The attack of a job, with its arguments."""
    return ATTACKS.get(job.attack.path)(**json.loads(job.attack.arguments))
