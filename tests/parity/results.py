"""What outside attacks find among the images that an entry calls robust, as `bench challenge` judges it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmark.challenge.judge import judged
from benchmark.challenge.submission import Outside
from benchmark.engine.criterion import Outcome, Rule, worst
from benchmark.evaluation.prepare.prepare import Prepared
from benchmark.evaluation.prepare.reproduce import originals
from benchmark.records.entry import Entry

Attack = Callable[[Tensor, Tensor], Tensor]
"""`(x, y) -> x_adv`: images `(b, c, h, w)` in [0, 1] and true labels `(b,)`."""
HALF = 0.5
"""An image is robust where it is right on at least so many of its draws; of a fixed victim there is one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What an attack may change and spend.

    Args:
        eps: Greatest linf change, in pixel units of [0, 1].
        shape: `(c, h, w)`.
        classes: Number of classes.
        eot: Draws over which gradients are averaged, where a library can.
        steps: Of an attack with gradients.
        queries: Of one without.
    """

    eps: float
    shape: tuple[int, int, int]
    classes: int
    eot: int = 1
    steps: int = 100
    queries: int = 2000


@dataclass(frozen=True, slots=True)
class Tried:
    """What one attack did: positions in the entry that it turned, seconds, and what broke it, if anything."""

    name: str
    turned: frozenset[int]
    seconds: float
    error: str = ""


@dataclass(slots=True)
class Hunt:
    """Attacks on the images of an entry that its worst case leaves robust.

    Args:
        entry: Its images and outcomes.
        ready: Its victim.
        most: How many images at most.
        best: For each image the most harmful one so far, and what `select` and `score` draws say of it.
    """

    entry: Entry
    ready: Prepared
    most: int
    best: dict[int, tuple[Outcome, Tensor]] = field(default_factory=dict)

    @property
    def robust(self) -> list[int]:
        """Positions of the images that are attacked."""
        bits = self.entry.per_image.worst
        return [i for i, b in enumerate(bits) if b.count("1") >= HALF * len(b)][: self.most]

    def images(self) -> tuple[Tensor, Tensor]:
        """The clean ones `(b, c, h, w)` and their labels `(b,)`."""
        x, y, _ = originals(self.ready, torch.tensor(self.robust))
        return x, y

    def run(self, attacks: Mapping[str, Attack]) -> Iterator[Tried]:
        """Runs attacks one by one, each from the same seed."""
        x, y = self.images()
        for name, attack in attacks.items():
            torch.manual_seed(0)
            np.random.seed(0)  # the libraries draw from it
            began = time.perf_counter()
            try:
                x_adv = attack(x.clone(), y.clone()).detach().float()
            except (AssertionError, RuntimeError, ValueError) as error:
                yield Tried(name, frozenset(), time.perf_counter() - began, f"{error}")
                continue
            seconds = time.perf_counter() - began
            x_adv = torch.where(x_adv.isfinite(), x_adv, x)
            yield Tried(name, self._judge(self.ready.task.threat.project(x, x_adv)), seconds)

    def _judge(self, x_adv: Tensor) -> frozenset[int]:
        """Which images fall by these, and takes note of the most harmful one of each."""
        handed = Outside(x_adv, torch.tensor(self.robust), "outside")
        outcomes = judged(self.ready, self.entry, handed)
        for (i, rules), image in zip(outcomes.items(), x_adv, strict=True):
            new = rules[Rule.SINGLE]
            known = self.best.get(i)
            if known is None or worst((known[0], new)):
                self.best[i] = (new, image)
        return frozenset(i for i, rules in outcomes.items() if rules[Rule.SINGLE].accuracy < HALF)

    def found(self) -> list[int]:
        """Positions of the images that some attack turned: chosen on `select`, scored on `score` draws."""
        return [i for i, (outcome, _) in self.best.items() if outcome.accuracy < HALF]


def write_found(hunt: Hunt, path: Path) -> None:
    """Writes the most harmful image of each original, as `bench challenge` reads them."""
    images, positions = hunt.entry.per_image, list(hunt.best)
    np.savez_compressed(
        path,
        x_adv=torch.stack([hunt.best[i][1] for i in positions]).numpy(),
        indices=np.array([images.indices[i] for i in positions]),
        labels=np.array([images.labels[i] for i in positions]),
    )
