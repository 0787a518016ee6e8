"""Measured rows: a job's shards put together, image by image, and the choice of one image out of many."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from benchmark.criterion import Outcome, Rule, worst
from benchmark.evaluated import Row
from benchmark.publishing.challenges import Choices, Scored
from benchmark.publishing.outcomes import Cost, kept_margin, mean_rate
from benchmark.publishing.rates import Rate, Rates
from benchmark.publishing.statistics import interval
from benchmark.results import Result, Status


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What one row of the plan found on all n images.

    Args:
        row: The row.
        finished: Its shards that came to their end, in order.
        gap: Why some image has no outcome, one line; empty where each has one.
        n: How many images there are.
    """

    row: Row
    finished: tuple[Result, ...]
    gap: str
    n: int

    def outcomes(self, rule: Rule) -> list[Outcome | None]:
        """One outcome an image, None where it is missing."""
        found: list[Outcome | None] = [None] * self.n
        for result in self.finished:
            found[result.start : result.stop] = result.outcomes[rule]
        return found

    def first(self, n: int) -> Measured:
        """The same of the first n images alone; its gap, if any, stays."""
        return replace(self, finished=cut(self.finished, n), n=min(n, self.n))

    def cost(self) -> Cost:
        """What was spent for each image of the finished shards."""
        images = max(1, sum(result.stop - result.start for result in self.finished))
        return Cost(
            forwards_per_image=sum(r.cost.forwards for r in self.finished) / images,
            backwards_per_image=sum(r.cost.backwards for r in self.finished) / images,
            seconds_per_image=sum(r.cost.seconds for r in self.finished) / images,
            peak_memory_bytes=max((r.cost.peak_bytes for r in self.finished), default=0) or None,
        )

    def zero_gradients(self) -> float:
        """Share of gradients that were zero everywhere; shards weigh as many images as they have."""
        return _mean((r.zero_gradients, r.stop - r.start) for r in self.finished)

    def trace(self) -> tuple[float, ...]:
        """Share of images still classified rightly, step by step.

        A shard whose images all left early stands still at its last step.
        """
        traced = [result for result in self.finished if result.trace]
        steps = max((len(result.trace) for result in traced), default=0)
        return tuple(
            _mean((r.trace[min(i, len(r.trace) - 1)], r.stop - r.start) for r in traced)
            for i in range(steps)
        )

    def warnings(self) -> tuple[str, ...]:
        """What the attack complained about, each complaint once."""
        return tuple(dict.fromkeys(text for result in self.finished for text in result.warnings))


def cut(shards: Sequence[Result], n: int) -> tuple[Result, ...]:
    """What shards say of the first n images; what was spent, and the trace, stay the whole shard's."""

    def part(result: Result) -> Result:
        kept = {rule: outcomes[: n - result.start] for rule, outcomes in result.outcomes.items()}
        return replace(result, stop=min(n, result.stop), outcomes=kept)

    return tuple(part(result) for result in shards if result.start < n)


def gather(row: Row, shards: Sequence[Result], n: int) -> Measured:
    """A row's shards put together; what failed or is missing becomes its gap, never an outcome.

    Raises:
        ValueError: The shards are another job's, or overlap, or go past the last image.
    """
    shards = sorted(shards, key=lambda result: result.start)
    reasons = []
    at = 0
    for result in shards:
        if result.job != row.job.key or result.start < at or result.stop > n:
            raise ValueError(
                f"row {row.id!r}: shard {result.start} to {result.stop} does not fit into {n} images"
            )
        if result.start > at:
            reasons.append(f"images {at} to {result.start} are missing")
        if result.status is Status.FAILED:
            reasons.append(f"images {result.start} to {result.stop} failed: {result.error}")
        at = result.stop
    if at < n:
        reasons.append(f"images {at} to {n} are missing")
    finished = tuple(result for result in shards if result.status is Status.OK)
    first, others = reasons[:1], len(reasons) - 1
    gap = "".join(first) + (f" (and {others} more such gaps)" if others > 0 else "")
    return Measured(row=row, finished=finished, gap=gap, n=n)


@dataclass(frozen=True, slots=True)
class Chosen:
    """For each image the one that is scored, and the row it came from; under one rule."""

    rows: tuple[str, ...]
    outcomes: tuple[Outcome, ...]

    @property
    def bits(self) -> tuple[str, ...]:
        """The outcomes on `score` draws, one string an image."""
        return tuple(outcome.bits for outcome in self.outcomes)

    @property
    def margins(self) -> tuple[float, ...]:
        """The margins on `select` draws, one an image, as an entry keeps them."""
        return tuple(kept_margin(outcome.margin) for outcome in self.outcomes)


def choose(rows: Sequence[Measured], rule: Rule) -> Chosen:
    """The one image to be scored for each original: chosen on `select` draws alone (`criterion.worst`).

    Args:
        rows: Those that enter, clean ones first, so that a tie leaves an image as it is. A row that is a gap
            enters with the images that it did finish: what broke an image broke it.
        rule: The rule under which it is chosen.

    Raises:
        ValueError: Some image has no outcome in any of them.
    """
    columns = [(measured.row.id, measured.outcomes(rule)) for measured in rows]
    names, chosen = [], []
    for i in range(rows[0].n):
        candidates = [(name, found[i]) for name, found in columns]
        present = [(name, outcome) for name, outcome in candidates if outcome is not None]
        if not present:
            raise ValueError(f"image {i} has no outcome in any row")
        name, outcome = present[worst([outcome for _, outcome in present])]
        names.append(name)
        chosen.append(outcome)
    return Chosen(tuple(names), tuple(chosen))


def rates(rows: Sequence[Measured]) -> Rates:
    """Under each rule, the accuracy on the images chosen out of these rows."""
    return Rates(
        single=rate_of(choose(rows, Rule.SINGLE).bits),
        vote=rate_of(choose(rows, Rule.VOTE).bits),
        any_of=rate_of(choose(rows, Rule.ANY).bits),
    )


def choices(rows: Sequence[Measured]) -> Choices:
    """Under each rule the images chosen out of these rows, with what decided the choice."""
    return Choices(
        single=scored(choose(rows, Rule.SINGLE).outcomes),
        vote=scored(choose(rows, Rule.VOTE).outcomes),
        any_of=scored(choose(rows, Rule.ANY).outcomes),
    )


def scored(outcomes: Sequence[Outcome]) -> Scored:
    """One outcome an image, as an entry keeps it."""
    return Scored(
        rates=tuple(outcome.rate for outcome in outcomes),
        margins=tuple(outcome.margin for outcome in outcomes),
        outcomes=tuple(outcome.bits for outcome in outcomes),
    )


def rate_of(bits: Sequence[str]) -> Rate:
    """The mean of one string of outcomes an image, with its interval."""
    shares = [outcome.count("1") / len(outcome) for outcome in bits]
    low, high = interval(shares, is_binary=all(len(outcome) == 1 for outcome in bits))
    value = mean_rate(bits)
    return Rate(value=value, low=min(low, value), high=max(high, value))


def _mean(weighted: Iterable[tuple[float, int]]) -> float:
    pairs = list(weighted)
    total = sum(weight for _, weight in pairs)
    return min(1.0, sum(value * weight for value, weight in pairs) / max(1, total))
