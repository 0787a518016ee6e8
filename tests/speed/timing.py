"""Interleaved timing: variants take turns, so that what else the machine does falls on all of them."""

from __future__ import annotations

import gc
import os
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

Clock = Callable[[], float]


def cpu_seconds() -> float:
    """Those of this process and of its finished children: for a machine that has other things to do."""
    return time.process_time() + sum(os.times()[2:4])


@dataclass(frozen=True)
class Sizes:
    """How much is timed.

    Args:
        images: In one batch.
        repeats: Of each variant, after one that does not count; with 1 there is no such.
        steps: Of attacks.
        queries: Of Square.
        eot: Draws of each gradient.
        shards: Of a run whose bookkeeping is timed.
        training: Steps of adversarial training; None for the whole recipe.
        dataset: `digits`, or `cifar10` for the real ResNet-18.
        clock: Of seconds.
    """

    images: int = 120
    repeats: int = 5
    steps: int = 100
    queries: int = 5000
    eot: int = 10
    shards: int = 10_000
    training: int | None = None
    dataset: str = "digits"
    clock: Clock = time.perf_counter


TINY = Sizes(images=4, repeats=1, steps=3, queries=5, eot=2, shards=100, training=3)


@dataclass
class Comparison:
    """Seconds of each variant in each repeat.

    Args:
        title: What is compared.
        seconds: One list a variant; the first variant is the reference.
        notes: What else is to be said, such as how many verdicts are equal.
    """

    title: str
    seconds: dict[str, list[float]]
    notes: list[str] = field(default_factory=list)

    def row(self) -> str:
        """One line of a Markdown table for each variant but the reference."""
        reference, *others = self.seconds
        note = "; ".join(self.notes)
        return "\n".join(
            f"| {self.title} | {name} : {reference} | {self._ratio(name, reference)} | "
            f"{statistics.median(self.seconds[name]):.3g} s : "
            f"{statistics.median(self.seconds[reference]):.3g} s | {note} |"
            for name in others
        )

    def _ratio(self, name: str, reference: str) -> str:
        pairs = zip(self.seconds[name], self.seconds[reference], strict=True)
        ratios = [one / other for one, other in pairs]
        return f"{statistics.median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f})"


def compare(title: str, variants: Mapping[str, Callable[[], object]], sizes: Sizes) -> Comparison:
    """Runs the variants in turn, after one run of each that does not count unless there is but one."""
    for variant in variants.values() if sizes.repeats > 1 else ():
        variant()
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for turn in range(sizes.repeats):
        names = list(variants) if turn % 2 == 0 else list(variants)[::-1]
        for name in names:
            gc.collect()
            began = sizes.clock()
            variants[name]()
            seconds[name].append(sizes.clock() - began)
    return Comparison(title, seconds)
