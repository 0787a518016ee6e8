"""Gathered runs: every row of a plan with its shards put together, as columns, records and costs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from benchmark.criterion import Rule
from benchmark.errors import BenchError
from benchmark.evaluated import Evaluated
from benchmark.job import Job
from benchmark.protocol import Column
from benchmark.publishing.entry import (
    AttackRecord,
    Columns,
    Family,
    Gap,
    Rate,
    StandIn,
    Undefended,
)
from benchmark.publishing.gaps import asked_rows, missing_rows, refuse_other_pixels, stand_ins_of
from benchmark.publishing.measured import Chosen, Measured, choose, cut, gather, rates
from benchmark.publishing.outcomes import Cost


@dataclass(frozen=True)
class Gathered:
    """The rows of a run, gathered.

    Args:
        attacks: Rows on the victim, in the protocol's order, clean ones first.
        sources: Rows on bare classifiers.
        diagnosis: Rows that test the evaluation, on the first images; they are nobody's gap.
        gaps: What is missing, named.
        not_applicable: Rows that cannot be had of such a task, likewise.
        stand_ins: Rows that ran with other arguments, because the task has few classes.
        columns_asked: Columns of which the protocol has a row for such a victim and task.
    """

    attacks: tuple[Measured, ...]
    sources: tuple[Measured, ...]
    diagnosis: tuple[Measured, ...]
    gaps: tuple[Gap, ...]
    not_applicable: tuple[Gap, ...]
    stand_ins: tuple[StandIn, ...]
    columns_asked: frozenset[Column]

    @classmethod
    def of(cls, evaluated: Evaluated) -> Gathered:
        """Gathers the shards of every row.

        Raises:
            BenchError: No row on the victim was planned, or rows met different images.
        """
        n = len(evaluated.subject.indices)
        rows = [row for row in evaluated.rows if row.diagnosis is None]
        gathered = [gather(row, evaluated.results.get(row.job.key, ()), n) for row in rows]
        attacks = [measured for measured in gathered if measured.row.column is not None]
        if not attacks:
            why = "; ".join(map(str, evaluated.skipped.values()))
            raise BenchError(
                f"expected at least one attack on {evaluated.subject.label!r}; protocol "
                f"{evaluated.protocol.name!r} could plan none ({why})"
            )
        diagnosis = [
            gather(row, cut(evaluated.results.get(row.job.key, ()), row.images(n)), row.images(n))
            for row in evaluated.rows
            if row.diagnosis is not None
        ]
        refuse_other_pixels(gathered)
        missing = list(missing_rows(evaluated, gathered))
        excused = {gap.row for gap in missing if gap.why.is_not_applicable}
        return cls(
            attacks=tuple(sorted(attacks, key=lambda m: m.row.column is not Column.CLEAN)),
            sources=tuple(measured for measured in gathered if measured.row.column is None),
            diagnosis=tuple(diagnosis),
            gaps=tuple(gap for gap in missing if gap.row not in excused),
            not_applicable=tuple(gap for gap in missing if gap.row in excused),
            stand_ins=tuple(stand_ins_of(evaluated, gathered)),
            columns_asked=frozenset(
                row.column for row in asked_rows(evaluated) if row.id not in excused
            ),
        )

    @property
    def job(self) -> Job:
        """A job on the victim: what all of them have in common is read from it."""
        return self.attacks[0].row.job

    @property
    def clean(self) -> tuple[Measured, ...]:
        """The clean rows; none where one of them is a gap."""
        found = self._of_column(Column.CLEAN)
        is_whole = found and not any(gap.column is Column.CLEAN for gap in self.gaps)
        return found if is_whole else ()

    def counting(self) -> tuple[Measured, ...]:
        """All rows that enter the worst case."""
        rows = [m for m in self.attacks if m.row.counts and m.row.column is not Column.CLEAN]
        return (*self.clean, *rows)

    def _of_column(self, column: Column) -> tuple[Measured, ...]:
        return tuple(measured for measured in self.attacks if measured.row.column is column)

    def columns(self) -> Columns:
        """All families."""
        return Columns(
            oblivious=self._family(Column.OBLIVIOUS),
            autoattack=self._family(Column.AUTOATTACK),
            adaptive=self._family(Column.ADAPTIVE),
            auxiliary=self._family(Column.AUXILIARY),
            transfer=self._family(Column.TRANSFER),
            black_box=self._family(Column.BLACK_BOX),
        )

    def _family(self, column: Column) -> Family | None:
        """A column; None where the protocol has none of that kind for such a victim and task."""
        rows = self._of_column(column)
        if not rows and column not in self.columns_asked:
            return None
        is_complete = bool(rows) and not any(gap.column is column for gap in self.gaps)
        return Family(
            rows=tuple(measured.row.id for measured in rows),
            is_complete=is_complete,
            rates=rates((*self.clean, *rows)) if is_complete and self.clean else None,
        )

    def undefended(self) -> Undefended:
        """The bare classifier behind the purifier, on clean images and on those made on it."""
        bare = [
            measured
            for measured in self.sources
            if measured.row.job.classifier == self.job.classifier and not measured.gap
        ]
        clean = [measured for measured in bare if measured.row.job.attack.label == "clean"]
        made = [measured for measured in bare if measured.row.job.attack.label != "clean"]
        return Undefended(clean=_single(clean), oblivious=_single(made))

    def record(self, measured: Measured) -> AttackRecord:
        """A row as it is published."""
        row, job = measured.row, measured.row.job
        is_source = row.column is None
        beside = () if is_source or row.column is Column.CLEAN else self.clean
        rows = (*beside, measured) if self.clean and not measured.gap else ()
        found = choose(rows, Rule.SINGLE) if rows else Chosen((), ())
        return AttackRecord(
            id=row.id,
            column=row.column,
            knowledge=row.knowledge,
            attack=job.attack.label,
            plugin=job.attack.path,
            arguments=json.loads(job.attack.arguments),
            source_sha256=job.attack.source,
            gradient=job.gradient,
            eot=job.eot,
            counts=row.counts,
            classifier=job.classifier.name,
            job_key=job.key,
            status="gap" if measured.gap else "ok",
            error=measured.gap,
            rates=rates(rows) if rows else None,
            outcomes=found.bits,
            cost=measured.cost(),
            trace=measured.trace(),
            warnings=measured.warnings(),
            zero_gradients=measured.zero_gradients(),
            margins=() if is_source else found.margins,
        )

    def cost(self) -> Cost:
        """What all rows took together; a job that stands in two rows was run once."""
        once = {m.row.job.key: m for m in (*self.attacks, *self.sources)}
        return _total([measured.cost() for measured in once.values()])


def _single(rows: Sequence[Measured]) -> Rate | None:
    return rates(rows).single if rows else None


def _total(costs: Sequence[Cost]) -> Cost:
    return Cost(
        forwards_per_image=sum(cost.forwards_per_image for cost in costs),
        backwards_per_image=sum(cost.backwards_per_image for cost in costs),
        seconds_per_image=sum(cost.seconds_per_image for cost in costs),
        peak_memory_bytes=max((cost.peak_memory_bytes or 0 for cost in costs), default=0) or None,
    )
