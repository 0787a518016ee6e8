"""Views: what a template is given, as values; rows, cells and notes of tables."""

from __future__ import annotations

import re
from dataclasses import dataclass

from benchmark.publishing.leaderboard.charts import Chart
from benchmark.publishing.leaderboard.columns import BoardColumn
from benchmark.records.entry import Rate

_NUMBER = re.compile(r"(?:≤ )?([+-]?\d+(?:\.\d+)?(?:e[+-]?\d+)?)([kM]?)")
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


@dataclass(frozen=True, slots=True)
class NamedCell:
    """A cell with its column.

    Args:
        name: The column's, as `bench table` takes it.
        cell: What stands there.
    """

    name: str
    cell: Cell


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One entry of a board.

    Args:
        place: Its rank; empty for the undefended classifier.
        name: Of the defense, or of the classifier.
        mark: Behind the name.
        remarks: Smaller behind it.
        page: The link to its page.
        cells: In the order of the board's columns.
        worst: Its worst case, which is drawn.
        letters: Of its flags.
        is_flagged: Whether a flag is raised.
    """

    place: str
    name: str
    mark: str
    remarks: str
    page: str
    cells: tuple[NamedCell, ...]
    worst: Rate | None
    letters: tuple[Letter, ...]
    is_flagged: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A row that is no entry, below the rows of its classifier: numbers of others.

    Args:
        name: Whose they are.
        values: Accuracies by the name of their column; and how many images.
    """

    name: str
    values: dict[str, Cell]


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupView:
    """The rows before one classifier.

    Args:
        classifier: Its name.
        header: The classifier undefended; None where no entry measured it.
        rows: The defenses before it, in rank order.
        references: Numbers of others.
    """

    classifier: str
    header: Row | None
    rows: tuple[Row, ...]
    references: tuple[Reference, ...]


@dataclass(frozen=True, slots=True)
class Other:
    """An entry that has a page and no row, since another one stands for it."""

    name: str
    page: str


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
    columns: tuple[BoardColumn, ...]
    n_rows: int
    """The undefended classifiers left out."""
    groups: tuple[GroupView, ...]
    notes: tuple[Note, ...]
    others: tuple[Other, ...]
    tables: tuple[Table, ...]
    chart: Chart | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The rows before one classifier on one board, as a line of the index.

    Args:
        n_defenses: How many rows.
        undefended: The worst case of the classifier alone; empty where it was not measured.
        best: The first row; empty where none is ranked.
        worst: Its worst case.
        gain: By how much that is ahead of the classifier alone.
    """

    dataset: str
    threat: str
    protocol: str
    preliminary: bool
    page: str
    classifier: str
    n_defenses: int
    undefended: str
    best: str
    worst: str
    gain: str
