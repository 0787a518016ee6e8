"""Estimates: what a run will cost at the most, in passes, disk and hours, before it is begun."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace

import torch

from benchmark.compute.determinism import hardware
from benchmark.engine.attacking.attack import Passes
from benchmark.engine.criterion import Outcome, Role, Rule
from benchmark.engine.dataset import pixels_sha256
from benchmark.engine.judging.verdict import ROWS
from benchmark.engine.victims.victim import GradientMode
from benchmark.estimate.report import Expense, RowExpense
from benchmark.estimate.timing import Setup, Stopwatch
from benchmark.evaluation.execute.environment import environment
from benchmark.evaluation.execute.planned import Planned, crew_of, plan_of
from benchmark.evaluation.execute.shard import attack_of
from benchmark.evaluation.execute.store import Store
from benchmark.evaluation.prepare.request import Request
from benchmark.files.temporary import temporary_folder
from benchmark.records.job import MIXED, Job
from benchmark.records.result import Result, ShardCost, Status
from benchmark.records.run import PlannedAttack

OnStep = Callable[[int, int, str], None]
"""Called with how many of how many rows are timed, and the one at hand."""


def estimate(request: Request, on_step: OnStep | None = None) -> Expense:
    """Prepares a request as a run does, and reckons what running it would cost; attacks nothing.

    Raises:
        BenchError: The request cannot be met as it stands.
    """
    planned = plan_of(request, keeps=False)
    ready, crew = planned.ready, crew_of(planned.ready)
    first: dict[str, PlannedAttack] = {}
    for row in planned.rows:
        first.setdefault(row.job.key, row)
    once = list(first.values())
    reckoner = _Estimator(planned, first)
    found = []
    with crew.as_one_worker():
        for i, row in enumerate(once):
            if on_step is not None:
                on_step(i, len(once), row.id)
            found.append(reckoner.row(row))
    return Expense(
        title={
            "defense": ready.label,
            "classifier": ready.classifier.name,
            "dataset": ready.dataset.name,
            "threat": str(ready.task.threat),
            "protocol": ready.protocol.name,
        },
        is_stochastic=ready.is_stochastic,
        rows=tuple(found),
        skipped=planned.skipped,
        shard_size=ready.protocol.shard_size,
        workers=crew.workers,
        hardware=hardware(ready.device),
    )


def passes_of(
    job: Job, rows: Mapping[str, PlannedAttack], is_random: Callable[[Job], bool]
) -> Passes | None:
    """The attack's own word; one that shows images of other jobs (`rows`, by key) hands back all of theirs."""
    task = job.task
    passes = attack_of(job).passes(
        classes=task.classes, eot=job.eot, stochastic=is_random(job), shape=task.shape
    )
    made = [passes_of(rows[key].job, rows, is_random) for key in job.needs]
    if passes is None or None in made:
        return None
    known = [source for source in made if source is not None]
    if job.is_last:  # besides its own, what each row before it chose under each rule
        return replace(
            passes, candidates=passes.candidates + len(known) * (len(Rule) if is_random(job) else 1)
        )
    return replace(passes, candidates=sum(s.candidates for s in known)) if made else passes


def choice_passes(job: Job, candidates: int, *, is_stochastic: bool) -> int:
    """Passes forward for one image that choose among its candidates, at the most.

    A deterministic victim is asked once. Of a random one, each of the three rules may have finalists of
    its own.
    """
    criterion = job.criterion
    if not is_stochastic:
        return candidates
    finalists = min(candidates, len(Rule) * criterion.finalists)
    selected = 0 if candidates <= criterion.finalists else candidates
    return selected * criterion.asked(Role.SELECT) + finalists * criterion.asked(Role.FINALS)


def verdict_passes(job: Job, candidates: int, *, is_stochastic: bool) -> int:
    """Passes forward for one image that choose among its candidates and score the choice, at the most.

    Of a random victim, where there is a choice, each of the three rules may choose another candidate.
    """
    passes = choice_passes(job, candidates, is_stochastic=is_stochastic)
    scored = len(Rule) if candidates > 1 else 1
    return passes + (scored * job.criterion.asked(Role.SCORE) if is_stochastic else 0)


def context_passes(job: Job, passes: Passes) -> int:
    """Passes forward for one image that ask about the chosen one as its attack asked (`right_in_context`).

    Where the attack goes backward there are as many passes backward. What is asked once a shard is left out.
    """
    return job.eot if passes.forwards and not job.is_source else 0


class _Estimator:
    """Reckons rows one by one; all of them, by their job's key, tell how many images sources hand on."""

    def __init__(self, planned: Planned, rows: Mapping[str, PlannedAttack]) -> None:
        self.rows = rows
        ready = self.ready = planned.ready
        self.bench, self.store = planned.bench, planned.store
        self.stopwatch = Stopwatch(self.bench, seed=ready.request.seed)
        n, size = len(ready.order), ready.protocol.shard_size
        self.shards = [(start, min(start + size, n)) for start in range(0, n, size)]
        self.pixels: dict[tuple[int, int], str] = {}

    def row(self, row: PlannedAttack) -> RowExpense:
        """One row."""
        job, n = row.job, row.images(len(self.ready.order))
        shards = [(start, min(stop, n)) for start, stop in self.shards if start < n]
        passes = self._passes(job)
        is_stochastic = self.bench.victim_of(job).stochastic
        verdict = seconds = None
        if passes is not None:
            verdict = verdict_passes(job, passes.candidates, is_stochastic=is_stochastic)
            if job.task.precision == MIXED:  # float32 looks at the search's candidates in between
                first = passes.candidates // 2
                verdict += choice_passes(job, first, is_stochastic=is_stochastic)
            seconds = self._seconds(job, passes, verdict)
            verdict += context_passes(job, passes)
        return RowExpense(
            id=row.id,
            column="diagnosis" if row.diagnosis else row.column or "source",
            attack=job.attack.label,
            gradient=job.gradient,
            eot=job.eot,
            images=n,
            done=sum(stop - at for at, stop in shards if self._is_done(job, at, stop)),
            passes=passes,
            verdict=verdict,
            disk=self._disk(job, passes),
            seconds=seconds,
        )

    def _passes(self, job: Job) -> Passes | None:
        """Those of one image, of which what is paid once a shard is spread over its images.

        In mixed precision an image that survives is attacked twice; both are reckoned at float32's speed.
        """
        passes = passes_of(job, self.rows, lambda job: self.bench.victim_of(job).stochastic)
        if passes is not None and passes.shared:
            share = math.ceil(passes.shared * len(self.shards) / len(self.ready.order))
            passes = replace(passes, forwards=passes.forwards + share, shared=0)
        if passes is not None and job.task.precision == MIXED:
            counts = ("forwards", "backwards", "auxiliary", "candidates")
            passes = replace(passes, **{name: 2 * getattr(passes, name) for name in counts})
        return passes

    def _seconds(self, job: Job, passes: Passes, verdict: int) -> float:
        """For one image: attack and verdict, each in the batches that it uses."""
        victim = self.bench.victim_of(job)
        name = job.classifier.name if not job.defenses else ""
        images = self.shards[0][1]
        asked = job.criterion.asked(job.criterion.choosing) if victim.stochastic else 1
        judging = Setup(
            name=name,
            mode=GradientMode.EXACT,
            rows=min(ROWS, images * asked * passes.candidates),
            has_gradients=False,
        )
        seconds = verdict * self.stopwatch.speed(judging, victim).forward
        if not passes.forwards:
            return seconds
        attacking = Setup(
            name=name,
            mode=GradientMode(job.gradient),
            rows=min(job.fixed_batch or self.bench.batch_size, images * job.eot),
            on_bare=passes.on_bare,
            has_gradients=passes.backwards > 0,
            has_auxiliary=passes.auxiliary > 0,
        )
        speed = self.stopwatch.speed(attacking, victim)
        asked = context_passes(job, passes)
        return (
            seconds
            + (passes.forwards + asked) * speed.forward
            + (passes.backwards + (asked if passes.backwards else 0)) * speed.backward
            + passes.auxiliary * speed.auxiliary
        )

    def _is_done(self, job: Job, start: int, stop: int) -> bool:
        found = self.store.load(job, start, stop)
        if found is None:
            return False
        if (start, stop) not in self.pixels:
            x, y, _ = self.bench.images(start, stop)
            self.pixels[start, stop] = pixels_sha256(x, y.tolist())
        return found.pixels_sha256 == self.pixels[start, stop]

    def _disk(self, job: Job, passes: Passes | None) -> float:
        """Bytes for one image: of a shard that the store writes without images, and of those it would keep."""
        start, stop = self.shards[0]
        asked = job.criterion.draws if self.bench.victim_of(job).stochastic else 1
        outcomes = {
            rule: (Outcome(2 / 3, -2 / 3, "1" * max(1, asked // job.criterion.group(rule))),)
            * (stop - start)
            for rule in Rule
        }
        looks = passes.backwards // job.eot if passes and attack_of(job).per_image else 1
        record = Result(
            job=job.key,
            start=start,
            stop=stop,
            status=Status.OK,
            outcomes=outcomes,
            cost=ShardCost(forwards=10**9, backwards=10**9, seconds=2 / 3),
            trace=(2 / 3,) * looks,
            pixels_sha256="0" * 64,
            environment=environment(self.bench.device),
            fingerprints=("0" * 64,) * (1 + len(job.needs)),
        )
        with temporary_folder() as folder:
            store = Store(folder)
            store.save(job, record, torch.zeros(0, dtype=self.bench.dtype))
            written = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        kept = passes.candidates if passes and job.is_source else 1
        pixels = math.prod(self.ready.dataset.shape) * self.bench.dtype.itemsize
        return written / (stop - start) + kept * pixels
