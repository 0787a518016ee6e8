"""Speeds: what one image's pass through a victim takes here, measured on a few batches of the real one."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from benchmark.compute.determinism import settle
from benchmark.engine.attacking.losses import LOSSES
from benchmark.engine.attacking.search import untargeted
from benchmark.engine.attacking.target import Objective, Target
from benchmark.engine.randomness import Draws
from benchmark.engine.victims.victim import GradientMode, Victim
from benchmark.evaluation.prepare.bench import Bench

REPEATS = 3
SECONDS = 2.0
"""About how long one timed batch may take; of a slower victim fewer rows are timed at once."""


@dataclass(frozen=True, slots=True)
class Speed:
    """Seconds for one image's pass.

    Args:
        forward: A pass forward, without gradients.
        backward: What a pass backward adds to that.
        auxiliary: A look at the purifiers' auxiliary loss with its gradient.
    """

    forward: float
    backward: float
    auxiliary: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """In what way a victim is asked: what its speed hangs on.

    Args:
        name: Which victim.
        mode: The gradient mode.
        rows: Images in one batch, EOT rows counted.
        on_bare: Whether the bare classifiers inside are asked, past the purifiers.
        has_gradients: Whether gradients are timed.
        has_auxiliary: Whether the auxiliary loss is timed.
    """

    name: str
    mode: GradientMode
    rows: int
    on_bare: bool = False
    has_gradients: bool = True
    has_auxiliary: bool = False


class Stopwatch:
    """Times a run's victims on its own first images, each way of asking once."""

    def __init__(self, bench: Bench, *, seed: int) -> None:
        self.bench = bench
        self.seed = seed
        self._known: dict[Setup, Speed] = {}

    def speed(self, setup: Setup, victim: Victim) -> Speed:
        """The speed of a victim asked in one way."""
        if setup not in self._known:
            self._known[setup] = self._measure(setup, victim)
        return self._known[setup]

    def _measure(self, setup: Setup, victim: Victim) -> Speed:
        x, y, indices = self.bench.images(0, min(setup.rows, len(self.bench.order)))
        again = torch.arange(setup.rows, device=x.device) % len(x)
        x, y, draws = x[again], y[again], Draws.of(self.seed, indices[again], "speed")
        target = Target(
            victim, classes=self.bench.dataset.classes, mode=setup.mode, batch_size=setup.rows
        )

        def forward(n: int) -> None:
            def one_pass(rows: Tensor) -> Tensor:
                with torch.no_grad():
                    if setup.on_bare:
                        return target.bare_logits(x[rows])
                    return target.logits(x[rows], draws=draws.take(rows))

            for _ in target.room.passes(n, one_pass, x.device):
                pass

        def ascend(objective: Objective, n: int) -> None:
            part = draws.take(torch.arange(n, device=x.device))
            target.ascend(x[:n], objective, draws=part)

        main = _on_bare(target, y) if setup.on_bare else untargeted(target, y, LOSSES["margin"])
        once = self._seconds(forward, setup.rows)
        both, auxiliary = once, 0.0
        if setup.has_gradients:
            both = self._seconds(partial(ascend, main), setup.rows)
        if setup.has_auxiliary:
            auxiliary = self._seconds(partial(ascend, _auxiliary(target)), setup.rows)
        return Speed(forward=once, backward=max(0.0, both - once), auxiliary=auxiliary)

    def _seconds(self, run: Callable[[int], None], rows: int) -> float:
        """Median seconds for each row of a batch; of a slow victim fewer rows are timed."""
        first = self._time(run, 1)
        if first > SECONDS:
            return first
        fits = int(SECONDS / max(1e-9, self._time(run, 1)))  # the first pass of all is slower
        n = max(1, min(rows, fits))
        self._time(run, n)
        return statistics.median(self._time(run, n) for _ in range(REPEATS)) / n

    def _time(self, run: Callable[[int], None], n: int) -> float:
        settle(self.bench.device)
        began = time.perf_counter()
        run(n)
        settle(self.bench.device)
        return time.perf_counter() - began


def _on_bare(target: Target, y: Tensor) -> Objective:
    def objective(rows: Tensor, which: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        del draws
        logits = target.bare_logits(rows)
        return LOSSES["margin"](logits, y[which]), logits

    return objective


def _auxiliary(target: Target) -> Objective:
    def objective(rows: Tensor, which: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        del which
        loss = target.auxiliary_loss(rows, draws=draws) + 0.0 * rows.flatten(1).sum(1)
        return loss, rows.new_zeros(len(rows), target.classes)

    return objective
