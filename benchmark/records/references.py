"""References: what one field of an entry says of another, held against it when an entry is made or read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from benchmark.records.protocol import FAMILIES

if TYPE_CHECKING:
    from benchmark.records.entry import AttackRecord, Entry


def refuse_dangling(entry: Entry) -> None:
    """Refuses an entry whose fields name rows that are not there, name one thing twice, or differ in length.

    Raises:
        ValueError: It does; the first such place is said.
    """
    for problem in _problems(entry):
        raise ValueError(problem)


def _problems(entry: Entry) -> Iterator[str]:
    yield from _twice(entry)
    yield from _rows(entry)
    yield from _columns(entry)
    yield from _diagnosis(entry)


def _twice(entry: Entry) -> Iterator[str]:
    """What must be named once, and is named twice."""
    named = {
        "attacks and sources": [row.id for row in (*entry.attacks, *entry.sources)],
        "diagnosis": [row.id for row in entry.diagnosis],
        "examination": [each.id for each in entry.examination],
        "flags": [flag.id for flag in entry.flags],
    }
    for where, names in named.items():
        twice = repeated(names)
        if twice is not None:
            yield f"{where}: {twice!r} stands there twice"


def _rows(entry: Entry) -> Iterator[str]:
    n = entry.dataset.n
    for row in entry.attacks:
        if row.column is None:
            yield f"attack {row.id!r} has no column; only sources have none"
    for row in entry.sources:
        if row.column is not None:
            yield f"source {row.id!r} has a column; only attacks have one"
    for row in (*entry.attacks, *entry.sources):
        if len(row.outcomes) not in (0, n):
            yield f"row {row.id!r}: expected outcomes of {n} images, got {len(row.outcomes)}"
        if row.scores and not row.scores.is_of(n, is_whole=row.status == "ok"):
            yield f"row {row.id!r}: expected scores of {n} images, got others"


def _columns(entry: Entry) -> Iterator[str]:
    """Each column names its own rows; the outcomes that its rates stand for are there."""
    rows = {row.id: row for row in entry.attacks}
    for column in FAMILIES:
        family = entry.family(column)
        for name in family.rows if family else ():
            if name not in rows or rows[name].column is not column:
                yield f"column {column}: {name!r} is no row of it"
        if family and family.rates and not _all_measured(rows[i] for i in family.rows):
            yield f"column {column}: it has rates, and a row of it has none"


def _all_measured(rows: Iterable[AttackRecord]) -> bool:
    found = list(rows)
    return bool(found) and all(row.outcomes for row in found)


def _diagnosis(entry: Entry) -> Iterator[str]:
    """What was varied is an attack of the entry, on images that it has; a curve has its budgets."""
    names = {row.id for row in entry.attacks}
    for row in entry.diagnosis:
        if row.of not in names:
            yield f"diagnosis {row.id!r} varies {row.of!r}, which is no attack of the entry"
        if row.images > entry.dataset.n:
            yield f"diagnosis {row.id!r} is on {row.images} images, of {entry.dataset.n}"
    if entry.eps_curve and not any(row.kind == "eps" for row in entry.diagnosis):
        yield "eps_curve: no row of the diagnosis has another budget"


def repeated(names: Iterable[str]) -> str | None:
    """The first name that occurs for the second time; None where each occurs once."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None
