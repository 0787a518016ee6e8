"""Views: what a template is given, as values; rows, cells and notes of tables."""

from __future__ import annotations

import re
from dataclasses import dataclass

from benchmark.publishing.entry import Rate
from benchmark.publishing.site.charts import Chart

_NUMBER = re.compile(r"(?:≤ )?(\d+(?:\.\d+)?(?:e[+-]?\d+)?)([kM]?)")
_SCALES = {"": 1.0, "k": 1e3, "M": 1e6}


@dataclass(frozen=True, slots=True)
class Cell:
    """One number of a table: what stands first, what stands smaller behind it, and what it is sorted by."""

    main: str
    rest: str
    key: float | None

    @classmethod
    def of(cls, text: str) -> Cell:
        """A cell of `cells.numbers`."""
        main, bracket, rest = text.partition(" (")
        found = _NUMBER.match(text)
        key = float(found[1]) * _SCALES[found[2]] if found else None
        return cls(main, f"{bracket.strip()}{rest}", key)


@dataclass(frozen=True, slots=True)
class Letter:
    """A mark in the column of flags: its letter, what it stands for, and the place of its note."""

    letter: str
    meaning: str
    anchor: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One entry of a board."""

    place: str
    defense: str
    mark: str
    remarks: str
    page: str
    classifier: str
    cells: tuple[tuple[str, Cell], ...]
    worst: Rate | None
    n: int
    letters: tuple[Letter, ...]
    is_flagged: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A row that is no entry, shown below the others: a classifier with nothing before it.

    Args:
        name: What it is.
        classifier: Its name.
        values: Its accuracies by the title of their column.
        n: How many images.
    """

    name: str
    classifier: str
    values: dict[str, Cell]
    n: int


@dataclass(frozen=True, slots=True)
class Note:
    """A line below a table, with its place where a mark leads to it."""

    anchor: str
    text: str


@dataclass(frozen=True, slots=True)
class Table:
    """A plain table below a board: text alone, the first column naming each row."""

    caption: str
    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardView:
    """One table with all that stands around it."""

    key: str
    heading: str
    protocol_sha256: str
    shape: str
    columns: tuple[str, ...]
    worst: str
    """The title among them that the board is ranked by."""
    rows: tuple[Row, ...]
    references: tuple[Reference, ...]
    notes: tuple[Note, ...]
    tables: tuple[Table, ...]
    chart: Chart | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """One board in the index."""

    dataset: str
    threat: str
    protocol: str
    preliminary: bool
    page: str
    n_entries: int
    best: str
    """The first row; empty where every row has gaps."""
    best_value: str
