"""Benches: all that a worker needs in order to run any job of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from benchmark.compute.memory import BatchLimit
from benchmark.engine.attacker_images import seed_images
from benchmark.engine.dataset import Dataset, Split, images_of, labels_of
from benchmark.engine.victims.classifier import Classifier
from benchmark.engine.victims.purified import Purified
from benchmark.engine.victims.victim import AsStochastic, KnownDraw, Victim
from benchmark.errors import BenchError
from benchmark.records.job import Job


@dataclass(frozen=True, kw_only=True)
class Bench:
    """All that a worker needs in order to run any job of a run, on one device.

    Args:
        order: Indices into the split, in evaluation order.
        classifiers: Every bare classifier by name: the defended one, and the surrogates.
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
    rooms: dict[str, BatchLimit] = field(default_factory=dict)

    def room(self, kind: str, rows: int, *, is_uncut: bool = False) -> BatchLimit:
        """The room for passes of a kind: what one shard learns holds for the next."""
        return self.rooms.setdefault(kind, BatchLimit(rows, least=rows if is_uncut else 1))

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
        """The victim that a job attacks: the defended one, at known draws or others, or a bare classifier.

        Raises:
            BenchError: The job is another run's.
        """
        if job.knows_draw:
            return KnownDraw(self.victim, (job.task.dataset, job.task.split, "known"))
        if job.defenses:
            return self.victim
        if job.classifier.name not in self.classifiers:
            raise BenchError(f"no classifier {job.classifier.name!r} was loaded for this run")
        bare = Purified([], self.classifiers[job.classifier.name])
        return AsStochastic(bare) if job.classifier.name in self.random else bare
