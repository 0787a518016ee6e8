"""One shard of one job, from images to a result: the attack, then the verdict."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmark.compute.determinism import begin_measuring, peak_memory, settle
from benchmark.compute.memory import Room
from benchmark.engine.attacking.attack import Attack
from benchmark.engine.attacking.mixed_precision import Found, search_then_confirm
from benchmark.engine.attacking.target import Target
from benchmark.engine.dataset import pixels_sha256
from benchmark.engine.judging.verdict import ROWS, judge, survivors
from benchmark.engine.randomness import Draws
from benchmark.engine.victims.victim import GradientMode, Victim
from benchmark.evaluation.prepare.bench import Bench
from benchmark.plugins import ATTACKS
from benchmark.records.job import MIXED, Job
from benchmark.records.result import Cost, Result, Status


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
    shard = _Shard(bench, job, bench.victim_of(job), *bench.images(start, stop), sources)
    begin_measuring(bench.device)
    began = time.perf_counter()
    found = shard.attack()
    settle(bench.device)  # a GPU may still be at work when the last call returns
    seconds = time.perf_counter() - began
    outcomes, chosen = judge(
        shard.victim,
        found.candidates,
        shard.y,
        draws=shard.root,
        criterion=job.criterion,
        room=shard.verdict_room,
    )
    result = Result(
        job=job.key,
        start=start,
        stop=stop,
        status=Status.OK,
        outcomes=outcomes,
        cost=Cost(
            forwards=found.forwards,
            backwards=found.backwards,
            seconds=seconds,
            peak_bytes=peak_memory(bench.device),
        ),
        trace=found.trace,
        warnings=found.warnings,
        zero_gradients=found.zero_gradients / max(1, found.gradients),
        pixels_sha256=pixels_sha256(shard.x, shard.y.tolist()),
    )
    return result, found.candidates if job.is_source else chosen


@dataclass(frozen=True, slots=True)
class _Shard:
    """A job's victim, its images `(b, c, h, w)` with labels and indices `(b,)`, and the images it takes."""

    bench: Bench
    job: Job
    victim: Victim
    x: Tensor
    y: Tensor
    indices: Tensor
    sources: Tensor | None

    @property
    def root(self) -> Draws:
        """The shard's draws, the same for all attacks."""
        return Draws.of(self.job.task.seed, self.indices, self.bench.dataset.name, self.bench.split)

    @property
    def verdict_room(self) -> Room:
        """The room for verdicts on this victim."""
        kind = f"verdict on {self.job.defenses} {self.job.classifier.name}"
        return self.bench.room(kind, ROWS, is_uncut=self.job.is_uncut)

    def attack(self) -> Found:
        """The job's attack, in its precision."""
        if self.job.task.precision != MIXED:
            return self._attempt(self.victim, torch.arange(len(self.x)), "")
        return search_then_confirm(
            self._attempt, self.victim, len(self.x), survivors=self._survivors
        )

    def _attempt(self, victim: Victim, which: Tensor, place: str) -> Found:
        """One run of the attack on the images at positions `(k,)`, at draws of a place."""
        job, which = self.job, which.to(self.x.device)
        attack = attack_of(job)
        target = Target(
            victim,
            classes=self.bench.dataset.classes,
            mode=GradientMode(job.gradient),
            eot=job.eot,
            batch_size=job.fixed_batch or self.bench.batch_size,
            sources=None if self.sources is None else self.sources.to(self.x)[which],
            leaves_early=not job.is_source,
            seeds=self.bench.seeds(attack.seeds),
        )
        rows = job.fixed_batch if job.is_uncut else self.bench.batch_size
        target.room = self.bench.room(f"{place} {job.key}", rows, is_uncut=job.is_uncut)
        names = (job.attack.label, job.gradient, *([place] if place else []))
        candidates = attack(
            target,
            self.x[which],
            self.y[which],
            threat=job.task.threat,
            draws=self.root.at("attack", *names).take(which),
        )
        return Found.of(candidates, target)

    def _survivors(self, candidates: Tensor) -> Tensor:
        return survivors(
            self.victim,
            candidates,
            self.y,
            draws=self.root,
            criterion=self.job.criterion,
            room=self.verdict_room,
        )


def attack_of(job: Job) -> Attack:
    """The attack of a job, with its arguments."""
    return ATTACKS.get(job.attack.path)(**json.loads(job.attack.arguments))
