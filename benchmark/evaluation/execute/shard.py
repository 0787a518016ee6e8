"""One shard of one job: its images attacked and judged, and what that found as a result."""

from __future__ import annotations

import copy
import json
import time
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmark.compute.determinism import begin_measuring, peak_memory, settle
from benchmark.engine.attacking.attack import Attack
from benchmark.engine.attacking.mixed_precision import AttackOutput, search_then_confirm
from benchmark.engine.attacking.target import Target
from benchmark.engine.dataset import pixels_sha256
from benchmark.engine.judging.verdict import ROWS, judge, survivors
from benchmark.engine.randomness import Draws
from benchmark.engine.victims.victim import GradientMode, Victim
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
    x, y, indices = bench.images(start, stop)
    task, victim, attack = job.task, bench.victim_of(job), attack_of(job)
    draws = Draws.of(task.seed, indices, task.dataset, task.split)
    batch = _Batch(bench, job, attack, x, y, draws, sources, bench.seeds(attack.seeds))
    place = f"verdict on {job.defenses} {job.classifier.name}"
    room = bench.room(place, ROWS, is_uncut=job.is_uncut)
    asked: dict[str, Any] = {"draws": draws, "criterion": job.criterion, "room": room}
    begin_measuring(bench.device)
    began = time.perf_counter()
    if task.precision == MIXED:
        left = partial(survivors, victim, y=y, **asked)
        spent = search_then_confirm(batch.attacked, victim, len(x), survivors=left)
    else:
        spent = batch.attacked(victim, torch.arange(len(x)))
    settle(bench.device)  # a GPU may still be at work when the last call returns
    seconds = time.perf_counter() - began
    outcomes, chosen = judge(victim, spent.candidates, y, **asked)
    cost = ShardCost(
        forwards=spent.forwards,
        backwards=spent.backwards,
        seconds=seconds,
        peak_bytes=peak_memory(bench.device),
    )
    result = Result(
        job=job.key,
        start=start,
        stop=stop,
        status=Status.OK,
        outcomes=outcomes,
        cost=cost,
        trace=spent.trace,
        warnings=spent.warnings,
        zero_gradients=spent.zero_gradients / max(1, spent.gradients),
        pixels_sha256=pixels_sha256(x, y.tolist()),
    )
    return result, spent.candidates if job.is_source else chosen


@dataclass(frozen=True, slots=True)
class _Batch:
    """The clean images `(b, c, h, w)` of a shard, and what its attack is told of them."""

    bench: Bench
    job: Job
    attack: Attack
    x: Tensor
    y: Tensor
    draws: Draws
    sources: Tensor | None
    seeds: Tensor | None

    def attacked(self, victim: Victim, which: Tensor, place: str = "") -> AttackOutput:
        """One run of the attack on the images at positions `(k,)`, at draws of a place."""
        bench, job, which = self.bench, self.job, which.to(self.x.device)
        mode = GradientMode(job.gradient)
        target = Target(
            victim,
            classes=job.task.classes,
            mode=mode,
            eot=job.eot,
            batch_size=job.fixed_batch or bench.batch_size,
            sources=None if self.sources is None else self.sources.to(self.x)[which],
            leaves_early=not job.is_source,
            seeds=self.seeds,
        )
        rows = job.fixed_batch if job.is_uncut else bench.batch_size
        target.room = bench.room(f"{place} {job.key}", rows, is_uncut=job.is_uncut)
        draws = self.draws.at("attack", self.attack.name, mode.value, *([place] if place else []))
        attack = copy.copy(self.attack)  # nothing of one run stays for the next
        x, y = self.x[which], self.y[which]
        candidates = attack(target, x, y, threat=job.task.threat, draws=draws.take(which))
        return AttackOutput.of(candidates, target)


def attack_of(job: Job) -> Attack:
    """The attack of a job, with its arguments."""
    return ATTACKS.get(job.attack.path)(**json.loads(job.attack.arguments))
