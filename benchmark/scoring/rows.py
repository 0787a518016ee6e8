"""Rows of a run as an entry keeps them: each with its shards put together, before anything is derived."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from benchmark.errors import BenchError
from benchmark.records.diagnosis import DiagnosisRecord
from benchmark.records.entry_parts import AttackRecord
from benchmark.records.run import PlannedAttack
from benchmark.scoring.aggregate import RowResult


def refuse_other_pixels(gathered: Iterable[RowResult]) -> None:
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


def planned_fields(row: PlannedAttack) -> dict[str, Any]:
    """What the record of a row says of its plan, by its fields."""
    job, varied = row.job, row.diagnosis
    of_job = {
        "attack": job.attack.label,
        "plugin": job.attack.path,
        "arguments": json.loads(job.attack.arguments),
        "gradient": job.gradient,
        "eot": job.eot,
    }
    if varied is not None:
        return of_job | {"kind": varied.kind, "of": varied.of, "eps": job.task.threat.eps}
    own = {"column": row.column, "knowledge": row.knowledge, "counts": row.counts}
    own |= {"last": job.is_last}
    return of_job | own | {"classifier": job.classifier.name}


def record_of(measured: RowResult) -> AttackRecord:
    """A row as it was measured."""
    return AttackRecord(
        **_of_both(measured),
        status="gap" if measured.gap else "ok",
        rates=None,
        trace=measured.trace(),
        warnings=measured.warnings(),
        zero_gradients=measured.zero_gradients(),
        scores=measured.scores(),
        context=measured.context(),
    )


def diagnosis_of(measured: RowResult) -> DiagnosisRecord:
    """A row of the diagnosis, likewise."""
    fields, is_whole = _of_both(measured), not measured.gap
    trace, scores = measured.trace(), measured.scores()
    return DiagnosisRecord(
        **fields,
        images=measured.n,
        rate=None,
        own=trace[-1] if fields["kind"] == "frozen" and is_whole and trace else None,
        scores=scores.single if scores and is_whole else None,
    )


def _of_both(measured: RowResult) -> dict[str, Any]:
    """The fields that a record has of an attack and of a diagnosis."""
    return {
        **planned_fields(measured.row),
        "id": measured.row.id,
        "source_sha256": measured.row.job.attack.source,
        "job_key": measured.row.job.key,
        "error": measured.gap,
        "outcomes": (),
        "cost": measured.cost(),
    }
