"""Missing rows of a run: what a protocol asks for and it does not hold; and images that are not the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchmark.errors import BenchError
from benchmark.evaluated import Evaluated
from benchmark.protocol import AttackRow
from benchmark.publishing.entry import Gap, StandIn
from benchmark.publishing.measured import Measured


def asked_rows(evaluated: Evaluated) -> list[AttackRow]:
    """The protocol's rows that are meant for such a victim."""
    return evaluated.protocol.attacks_on(is_stochastic=evaluated.subject.is_stochastic)


def missing_rows(evaluated: Evaluated, gathered: Sequence[Measured]) -> Iterator[Gap]:
    """All rows without numbers: those that could not be planned, are in no plan, failed, or are not whole.

    Every row that the protocol asks for is measured or stands here; `Why.is_not_applicable` tells which of
    these are no gaps.

    Args:
        evaluated: The run.
        gathered: Its rows.
    """
    columns = {row.id: row.column for row in evaluated.protocol.attacks}
    for name, missing in evaluated.skipped.items():
        yield Gap(
            row=name,
            column=columns.get(_base(name)),
            why=missing.why,
            reason=missing.reason or "it could not be planned",
        )
    planned = {_base(name) for name in (*(m.row.id for m in gathered), *evaluated.skipped)}
    for row in asked_rows(evaluated):
        if row.id not in planned:
            yield Gap(
                row=row.id, column=row.column, reason="the protocol asks for it; no job did it"
            )
    for measured in gathered:
        if measured.gap:
            yield Gap(row=measured.row.id, column=measured.row.column, reason=measured.gap)


def stand_ins_of(evaluated: Evaluated, gathered: Sequence[Measured]) -> Iterator[StandIn]:
    """The rows of a run that had other arguments than their own, because its task has few classes."""
    protocol, planned = evaluated.protocol, {_base(measured.row.id) for measured in gathered}
    for row in protocol.rows:
        if row.few_classes is not None and row.id in planned:
            few = row.few_classes
            yield StandIn(row=row.id, arguments=few.arguments, below=few.below)


def refuse_other_pixels(gathered: Sequence[Measured]) -> None:
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


def _base(name: str) -> str:
    """The protocol's id of a row: without the gradient mode or the classifier behind it."""
    return name.partition(":")[0]
