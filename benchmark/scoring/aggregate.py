"""Measured rows: a job's shards put together, image by image."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from benchmark.engine.criterion import Outcome, Rule
from benchmark.records.rates import Cost
from benchmark.records.result import Result, Status
from benchmark.records.run import PlannedAttack
from benchmark.records.scores import Scores


@dataclass(frozen=True, slots=True, kw_only=True)
class RowResult:
    """What one row of the plan found on all n images.

    Args:
        row: The row.
        finished: Its shards that came to their end, in order.
        gap: Why some image has no outcome, one line; empty where each has one.
        n: How many images there are.
    """

    row: PlannedAttack
    finished: tuple[Result, ...]
    gap: str
    n: int

    def outcomes(self, rule: Rule) -> list[Outcome | None]:
        """One outcome an image, None where it is missing."""
        found: list[Outcome | None] = [None] * self.n
        for result in self.finished:
            found[result.start : result.stop] = result.outcomes[rule]
        return found

    def scores(self) -> Scores | None:
        """All outcomes, as an entry keeps them; None where no shard was finished."""
        return Scores.of({rule: self.outcomes(rule) for rule in Rule})

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

    def context(self) -> tuple[int, ...]:
        """At how many EOT draws each image was right while attacked; empty where some image was not asked."""
        found = tuple(count for result in self.finished for count in result.context)
        return found if len(found) == self.n else ()

    def warnings(self) -> tuple[str, ...]:
        """What the attack complained about, each complaint once."""
        return tuple(dict.fromkeys(text for result in self.finished for text in result.warnings))


def cut(shards: Sequence[Result], n: int) -> tuple[Result, ...]:
    """What shards say of the first n images; what was spent, and the trace, stay the whole shard's."""

    def part(result: Result) -> Result:
        kept = {rule: outcomes[: n - result.start] for rule, outcomes in result.outcomes.items()}
        return replace(result, stop=min(n, result.stop), outcomes=kept)

    return tuple(part(result) for result in shards if result.start < n)


def gather(row: PlannedAttack, shards: Sequence[Result], n: int) -> RowResult:
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
    return RowResult(row=row, finished=finished, gap=gap, n=n)


def _mean(weighted: Iterable[tuple[float, int]]) -> float:
    pairs = list(weighted)
    total = sum(weight for _, weight in pairs)
    return min(1.0, sum(value * weight for value, weight in pairs) / max(1, total))
