"""Rows asked: whether an entry accounts for each row of its protocol as that asks for it; pure, no torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from benchmark.engine.threat import Knowledge
from benchmark.records.entry import Entry
from benchmark.records.entry_parts import AttackRecord
from benchmark.records.protocol import BARE, AttackRow, Protocol, SourceRow
from benchmark.records.protocol_files import protocol_names
from benchmark.records.protocol_rows import BEST, Faced, is_measured
from benchmark.scoring.derived import base_of, protocol_of

MOST_CLASSES_NEEDED = 4
"""The most that an attack of a protocol that ships asks for (targeted DLR, and AutoAttack by it)."""


def problems_of_rows(entry: Entry) -> Iterator[str]:
    """Every row that the protocol asks for is there as it asks, is a gap, or is not applicable."""
    protocol, named = protocol_of(entry), entry.protocol
    if protocol is None:
        yield from _unbound(entry)
        return
    if named.content is not None and named.name in protocol_names():
        yield f"protocol.content: {named.name!r} ships with the project, and no entry holds its own"
    elif named.content not in (None, protocol.content()):
        yield "protocol.content is not written as an entry holds it"
    yield from _left_out(entry, protocol)
    yield from _not_applicable(entry, protocol)
    yield from _changed(entry, protocol)
    yield from _stand_ins(entry, protocol)


def _unbound(entry: Entry) -> Iterator[str]:
    named = entry.protocol
    if named.name in protocol_names():
        yield (
            f"protocol {named.name!r} never was one of sha256 {named.sha256[:12]}: no version of that name was "
            f"published with this content; a protocol of your own has a name of its own"
        )
    elif not entry.is_legacy:
        yield (
            f"protocol {named.name!r} does not ship with the project, and the entry does not hold it: nothing "
            f"binds its rows"
        )


def _left_out(entry: Entry, protocol: Protocol) -> Iterator[str]:
    gradient = entry.defense.gradient
    if gradient not in BEST:
        yield f"defense.gradient: expected one of {', '.join(BEST)}; got {gradient[:20]!r}"
        return
    missing = {base_of(gap.row) for gap in (*entry.gaps, *entry.not_applicable)}
    there = {row.id for row in entry.attacks}
    faced = Faced.of(entry.defense)
    is_asked = any(is_measured(row) for row in protocol.attacks)
    if faced.measured is None and is_asked and not entry.is_legacy:
        yield f"defense.measured: protocol {protocol.name!r} goes by measured gradients, and there are none"
    asked = faced.rows(protocol)
    if entry.is_legacy:  # what was planned for a gradient was another then
        gone = missing | {base_of(name) for name in there}
        asked = [row for row in asked if row.id not in gone]
    for row in asked:
        names = faced.names(row).values()
        for name in names:
            if name not in there and not (row.id in missing and there.isdisjoint(names)):
                yield f"row {name} of protocol {protocol.name!r} is neither measured nor said to be missing"
    planned = {name for row in asked for name in faced.names(row).values()}
    for record in entry.attacks:
        if record.id not in planned and not entry.is_legacy:
            yield f"{record.id}: protocol {protocol.name!r} asks for no such row of such a victim"
    needed = {source for row in asked if row.id not in missing for source in row.sources}
    bases = {base_of(row.id) for row in entry.sources}
    for source in protocol.sources:
        is_wanted = source.id in needed or source.attack == "clean"
        if is_wanted and source.against == BARE and source.id not in bases | missing:
            yield f"source {source.id} of protocol {protocol.name!r} is neither made nor said to be missing"


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
    """A row is as its protocol asks for it on such a victim."""
    attacks = {row.id: row for row in protocol.attacks}
    sources = {row.id: row for row in protocol.sources}
    for record in (*entry.attacks, *entry.sources):
        rows: Mapping[str, AttackRow | SourceRow] = sources if record.column is None else attacks
        row = rows.get(base_of(record.id))
        if row is not None:
            yield from _other(entry, protocol, record, row)
        elif record.column is None:
            yield f"{record.id}: protocol {protocol.name!r} has no such source"


def _other(
    entry: Entry, protocol: Protocol, record: AttackRecord, row: AttackRow | SourceRow
) -> Iterator[str]:
    """What a record says otherwise than its row."""
    is_random = entry.defense.stochastic
    wanted: dict[str, Any] = {}
    if isinstance(row, AttackRow):
        modes = {name: mode for mode, name in Faced.of(entry.defense).names(row).items()}
        wanted |= {
            "column": row.column,
            "knowledge": row.knowledge,
            "counts": row.counts_on(is_stochastic=is_random),
            "last": row.last,
            "eot": row.eot if is_random else 1,
            "gradient": modes.get(record.id, record.gradient),
            "classifier": entry.classifier.name,
        }
    else:
        strange = Knowledge.OBLIVIOUS if row.sees_bare else Knowledge.TRANSFER
        wanted |= {"column": None, "knowledge": strange, "counts": False, "eot": 1}
        wanted["classifier"] = record.id.partition(":")[2]
        if row.against == BARE:
            wanted["classifier"] = entry.classifier.name
    found = {name: getattr(record, name) for name in wanted} | dict(record.arguments)
    for name, value in (wanted | row.arguments).items():
        if found.get(name) != value or isinstance(found.get(name), bool) is not isinstance(
            value, bool
        ):
            yield (
                f"{record.id}: protocol {protocol.name!r} says {name}={value}, and it had {found.get(name)}"
            )


def _stand_ins(entry: Entry, protocol: Protocol) -> Iterator[str]:
    """A stand-in is one of the protocol's."""
    rows = {row.id: row for row in protocol.rows}
    for one in entry.stand_ins:
        few = rows[one.row].few_classes if one.row in rows else None
        if few is None or (few.below, few.arguments) != (one.below, one.arguments):
            yield f"{one.row}: protocol {protocol.name!r} has no such stand-in"
