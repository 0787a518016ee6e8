"""Rows asked: whether an entry accounts for each row of its protocol; pure, no torch."""

from __future__ import annotations

from collections.abc import Iterator

from benchmark.protocol import Protocol, load_protocol, protocol_names
from benchmark.publishing.entry import Entry

MOST_CLASSES_NEEDED = 4
"""The most that an attack of a protocol that ships asks for (targeted DLR, and AutoAttack by it)."""


def as_shipped(entry: Entry) -> Protocol:
    """The protocol of that name as it ships now, for the entry's task.

    Raises:
        BenchError: None of that name ships.
    """
    shipped = load_protocol(entry.protocol.name)
    return shipped.for_classes(entry.dataset.classes) if entry.dataset.classes else shipped


def problems_of_rows(entry: Entry) -> Iterator[str]:
    """Every row that a shipped protocol asks for is there as it asks, is a gap, or is not applicable.

    Nothing is said of an entry whose protocol does not ship, or has changed since.
    """
    if entry.protocol.name not in protocol_names():
        return
    protocol = as_shipped(entry)
    if protocol.sha256() == entry.protocol.sha256:
        yield from _left_out(entry, protocol)
        yield from _not_applicable(entry, protocol)
        yield from _changed(entry, protocol)


def _left_out(entry: Entry, protocol: Protocol) -> Iterator[str]:
    missing = (*entry.gaps, *entry.not_applicable)
    accounted = {_base(row.id) for row in entry.attacks} | {_base(gap.row) for gap in missing}
    for row in protocol.attacks_on(is_stochastic=entry.defense.stochastic):
        if row.id not in accounted:
            yield f"row {row.id} of protocol {protocol.name!r} is neither measured nor said to be missing"


def _not_applicable(entry: Entry, protocol: Protocol) -> Iterator[str]:
    known = dict.fromkeys((row.id for row in protocol.sources), None)
    columns = {**known, **{row.id: row.column for row in protocol.attacks}}
    for gap in entry.not_applicable:
        if gap.row not in columns:
            yield f"{gap.row} is not applicable, and no row of protocol {protocol.name!r}"
        elif columns[gap.row] is not gap.column:
            yield f"{gap.row} is of column {columns[gap.row]}, and said to be of {gap.column}"
    seen = 1 + max(entry.per_image.labels, default=0)
    classes = entry.dataset.classes or seen
    if classes < seen:
        yield f"dataset.classes is {classes}, and its labels are of {seen}"
    if entry.not_applicable and max(seen, classes) >= MOST_CLASSES_NEEDED:
        yield f"{entry.not_applicable[0].row} is applicable: the task has {max(seen, classes)} classes"


def _changed(entry: Entry, protocol: Protocol) -> Iterator[str]:
    """A row has the arguments that its protocol gives it, and a stand-in is one of the protocol's."""
    rows = {row.id: row for row in protocol.rows}
    for record in (*entry.attacks, *entry.sources):
        row = rows.get(_base(record.id))
        for name, value in row.arguments.items() if row else ():
            if record.arguments.get(name) != value:
                yield (
                    f"{record.id}: protocol {protocol.name!r} says {name}={value}, and it had "
                    f"{record.arguments.get(name)}"
                )
    for one in entry.stand_ins:
        few = rows[one.row].few_classes if one.row in rows else None
        if few is None or (few.below, few.arguments) != (one.below, one.arguments):
            yield f"{one.row}: protocol {protocol.name!r} has no such stand-in"


def _base(name: str) -> str:
    """The protocol's id of a row: without the gradient mode or the classifier behind it."""
    return name.partition(":")[0]
