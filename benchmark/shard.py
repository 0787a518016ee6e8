"""One shard of one job, from images to a result: the attack, then the verdict."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmark.attack import Attack
from benchmark.classifier import Classifier
from benchmark.dataset import Dataset, Split, images_of, labels_of, pixels_sha256
from benchmark.errors import BenchError
from benchmark.job import Job
from benchmark.purified import Purified
from benchmark.randomness import Draws
from benchmark.results import Cost, Result, Status
from benchmark.shelf import ATTACKS
from benchmark.target import Target
from benchmark.verdict import judge
from benchmark.victim import GradientMode, Victim


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
    """

    dataset: Dataset
    split: Split
    order: tuple[int, ...]
    victim: Victim
    classifiers: Mapping[str, Classifier]
    device: torch.device
    dtype: torch.dtype
    batch_size: int

    def images(self, start: int, stop: int) -> tuple[Tensor, Tensor, Tensor]:
        """Clean images `(b, c, h, w)`, labels `(b,)` and indices `(b,)` of a shard, on the device."""
        indices = torch.tensor(self.order[start:stop])
        x = images_of(self.dataset, self.split, indices).to(self.device, self.dtype)
        y = labels_of(self.dataset, self.split)[indices].to(self.device)
        return x, y, indices.to(self.device)

    def victim_of(self, job: Job) -> Victim:
        """The victim that a job attacks: the defended one, or a bare classifier.

        Raises:
            BenchError: The job is another run's.
        """
        if job.defenses:
            return self.victim
        if job.classifier.name not in self.classifiers:
            raise BenchError(f"no classifier {job.classifier.name!r} was loaded for this run")
        return Purified([], self.classifiers[job.classifier.name])


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
        The result, and the images to keep: all candidates `(b, m, c, h, w)` of a source, else the chosen one
        of each image `(b, 1, c, h, w)`.

    Raises:
        ContractBroken: A plugin broke its contract.
    """
    x, y, indices = bench.images(start, stop)
    victim = bench.victim_of(job)
    target = Target(
        victim,
        classes=bench.dataset.classes,
        mode=GradientMode(job.gradient),
        eot=job.eot,
        batch_size=job.fixed_batch or bench.batch_size,
        sources=None if sources is None else sources.to(x),
        leaves_early=not job.is_source,
    )
    root = Draws.of(job.seed, indices, bench.dataset.name, bench.split)
    began = time.perf_counter()
    candidates = attack_of(job)(
        target, x, y, threat=job.threat, draws=root.at("attack", job.attack.label, job.gradient)
    )
    seconds = time.perf_counter() - began
    outcomes, chosen = judge(victim, candidates, y, draws=root, criterion=job.criterion)
    result = Result(
        job=job.key,
        start=start,
        stop=stop,
        status=Status.OK,
        outcomes=outcomes,
        cost=Cost(forwards=target.forwards, backwards=target.backwards, seconds=seconds),
        trace=tuple(target.trace),
        warnings=tuple(target.warnings),
        zero_gradients=target.zero_gradients / max(1, target.gradients),
        pixels_sha256=pixels_sha256(x, y.tolist()),
    )
    return result, candidates if job.is_source else chosen.unsqueeze(1)


def attack_of(job: Job) -> Attack:
    """The attack of a job, with its arguments."""
    return ATTACKS.get(job.attack.path)(**json.loads(job.attack.arguments))
