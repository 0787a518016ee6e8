"""One shard of one job, from images to a result: the attack, then the verdict."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from benchmark.attack import Attack
from benchmark.classifier import Classifier
from benchmark.dataset import Dataset, Split, images_of, labels_of, pixels_sha256
from benchmark.errors import BenchError
from benchmark.job import MIXED, Job
from benchmark.memory import Room
from benchmark.mixed import Found, search_then_confirm
from benchmark.numerics import begin_measuring, peak_memory, settle
from benchmark.purified import Purified
from benchmark.randomness import Draws
from benchmark.results import Cost, Result, Status
from benchmark.seeds import seed_images
from benchmark.shelf import ATTACKS
from benchmark.target import Target
from benchmark.verdict import ROWS, judge, survivors
from benchmark.victim import AsStochastic, GradientMode, Victim


@dataclass(frozen=True, kw_only=True)
class Bench:
    """All that a worker needs in order to run any job of a run.

    Args:
        dataset: The images.
        split: Which of its splits.
        order: Indices into the split, in evaluation order.
        victim: The defended classifier.
        classifiers: Every bare classifier by name: the defended one, and the surrogates.
        device: Where everything lies.
        dtype: Of images and weights.
        batch_size: Rows in one forward pass at the most.
        random: Names of the bare classifiers that were measured to be random.
        rooms: For how many rows in one pass there is memory, as far as it was met; by the kind of pass.
    """

    dataset: Dataset
    split: Split
    order: tuple[int, ...]
    victim: Victim
    classifiers: Mapping[str, Classifier]
    device: torch.device
    dtype: torch.dtype
    batch_size: int
    random: frozenset[str] = frozenset()
    rooms: dict[str, Room] = field(default_factory=dict)

    def room(self, kind: str, rows: int, *, is_uncut: bool = False) -> Room:
        """The room for passes of a kind: what one shard learns holds for the next."""
        return self.rooms.setdefault(kind, Room(rows, least=rows if is_uncut else 1))

    def images(self, start: int, stop: int) -> tuple[Tensor, Tensor, Tensor]:
        """Clean images `(b, c, h, w)`, labels `(b,)` and indices `(b,)` of a shard, on the device."""
        indices = torch.tensor(self.order[start:stop])
        x = images_of(self.dataset, self.split, indices).to(self.device, self.dtype)
        y = labels_of(self.dataset, self.split)[indices].to(self.device)
        return x, y, indices.to(self.device)

    def seeds(self, n: int) -> Tensor | None:
        """Images `(n, c, h, w)` of an attacker's own, on the device; None for none.

        Raises:
            BenchError: There are not so many.
        """
        if not n:
            return None
        found = seed_images(self.dataset, self.split, self.order, n)
        return found.to(self.device, self.dtype)

    def victim_of(self, job: Job) -> Victim:
        """The victim that a job attacks: the defended one, or a bare classifier.

        Raises:
            BenchError: The job is another run's.
        """
        if job.defenses:
            return self.victim
        if job.classifier.name not in self.classifiers:
            raise BenchError(f"no classifier {job.classifier.name!r} was loaded for this run")
        bare = Purified([], self.classifiers[job.classifier.name])
        return AsStochastic(bare) if job.classifier.name in self.random else bare


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
        return Draws.of(self.job.seed, self.indices, self.bench.dataset.name, self.bench.split)

    @property
    def verdict_room(self) -> Room:
        """The room for verdicts on this victim."""
        kind = f"verdict on {self.job.defenses} {self.job.classifier.name}"
        return self.bench.room(kind, ROWS, is_uncut=self.job.is_uncut)

    def attack(self) -> Found:
        """The job's attack, in its precision."""
        if self.job.precision != MIXED:
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
            threat=job.threat,
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
