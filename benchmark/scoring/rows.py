"""Rows of a run: each with its shards put together as an entry keeps them, or a named gap."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmark.errors import BenchError
from benchmark.records.diagnosis import DiagnosisRecord
from benchmark.records.entry import Gap
from benchmark.records.entry_parts import AttackRecord
from benchmark.records.job import Job
from benchmark.records.protocol import Column
from benchmark.records.run import Run
from benchmark.scoring.aggregate import RowResult, cut, gather
from benchmark.scoring.derived import base_of


def skipped_rows(evaluated: Run) -> Iterator[Gap]:
    """The rows that could not be planned; `derived.missing_rows` adds those that failed or that no job did."""
    columns = {row.id: row.column for row in evaluated.protocol.attacks}
    for name, missing in evaluated.skipped.items():
        yield Gap(
            row=name,
            column=columns.get(base_of(name)),
            why=missing.why,
            reason=missing.reason or "it could not be planned",
        )


def refuse_other_pixels(gathered: Sequence[RowResult]) -> None:
    """Refuses rows that met different images at the same place.

    Raises:
        BenchError: Some did.
    """
    seen: dict[tuple[int, int], str] = {}
    for measured in gathered:
        for result in measured.finished:
            place = (result.start, result.stop)
            if seen.setdefault(place, result.pixels_sha256) != result.pixels_sha256:
                raise BenchError(
                    f"expected the same images in all rows, but images {place[0]} to {place[1]} of row "
                    f"{measured.row.id!r} are others: the dataset changed between runs; run it again "
                    f"into another runs folder"
                )


@dataclass(frozen=True)
class ScoredRows:
    """The rows of a run, gathered.

    Args:
        attacks: Rows on the victim, in the protocol's order, clean ones first.
        sources: Rows on bare classifiers.
        diagnosis: Rows that test the evaluation, on the first images; they are nobody's gap.
    """

    attacks: tuple[RowResult, ...]
    sources: tuple[RowResult, ...]
    diagnosis: tuple[RowResult, ...]

    @classmethod
    def of(cls, evaluated: Run) -> ScoredRows:
        """Gathers the shards of every row.

        Raises:
            BenchError: No row on the victim was planned, or rows met different images.
        """
        n = len(evaluated.indices)
        rows = [row for row in evaluated.rows if row.diagnosis is None]
        gathered = [gather(row, evaluated.results.get(row.job.key, ()), n) for row in rows]
        attacks = [measured for measured in gathered if measured.row.column is not None]
        if not attacks:
            why = "; ".join(map(str, evaluated.skipped.values()))
            raise BenchError(
                f"expected at least one attack on {evaluated.label!r}; protocol "
                f"{evaluated.protocol.name!r} could plan none ({why})"
            )
        diagnosis = [
            gather(row, cut(evaluated.results.get(row.job.key, ()), row.images(n)), row.images(n))
            for row in evaluated.rows
            if row.diagnosis is not None
        ]
        refuse_other_pixels(gathered)
        return cls(
            attacks=tuple(sorted(attacks, key=lambda m: m.row.column is not Column.CLEAN)),
            sources=tuple(measured for measured in gathered if measured.row.column is None),
            diagnosis=tuple(diagnosis),
        )

    @property
    def job(self) -> Job:
        """A job on the victim: what all of them have in common is read from it."""
        return self.attacks[0].row.job


def record_of(measured: RowResult) -> AttackRecord:
    """A row as it was measured, before anything is derived from it."""
    row, job = measured.row, measured.row.job
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
        rates=None,
        outcomes=(),
        cost=measured.cost(),
        trace=measured.trace(),
        warnings=measured.warnings(),
        zero_gradients=measured.zero_gradients(),
        scores=measured.scores(),
    )


def diagnosis_of(measured: RowResult) -> DiagnosisRecord:
    """A row of the diagnosis, likewise.

    Raises:
        ValueError: It is none (a bug of ours).
    """
    row, job = measured.row, measured.row.job
    if row.diagnosis is None:
        raise ValueError(f"row {row.id!r} is no diagnosis")
    trace, scores = measured.trace(), measured.scores()
    is_whole = not measured.gap
    return DiagnosisRecord(
        id=row.id,
        kind=row.diagnosis.kind,
        of=row.diagnosis.of,
        attack=job.attack.label,
        plugin=job.attack.path,
        arguments=json.loads(job.attack.arguments),
        source_sha256=job.attack.source,
        gradient=job.gradient,
        eot=job.eot,
        eps=job.task.threat.eps,
        images=measured.n,
        job_key=job.key,
        error=measured.gap,
        rate=None,
        outcomes=(),
        own=trace[-1] if row.diagnosis.kind == "frozen" and is_whole and trace else None,
        cost=measured.cost(),
        scores=scores.single if scores and is_whole else None,
    )
