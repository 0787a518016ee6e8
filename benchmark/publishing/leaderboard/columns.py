"""Columns: every number of a board, declared once for pages, terminals, tables for papers and the site."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from benchmark.publishing.leaderboard import cells
from benchmark.publishing.leaderboard.ranking import Gain, Line
from benchmark.records.entry import Entry, Rate
from benchmark.records.protocol import FAMILIES, Column

Span = Rate | Gain
"""A share or a difference of shares, with the ends of its 95 % interval."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardColumn:
    """One number of a line.

    Args:
        name: As `bench table --columns` takes it.
        title: On a page.
        short: In a terminal; empty where there is no room for it.
        cell: Its text.
        span: The number itself; None where the line has none. No function where it is no share.
        family: The attack family that it is of.
        is_usual: Whether it stands on every board, or only where some entry has it.
    """

    name: str
    title: str
    short: str
    cell: Callable[[Line], str]
    span: Callable[[Line], Span | None] | None = None
    family: Column | None = None
    is_usual: bool = True

    def number(self, line: Line) -> Span | None:
        """The number itself, where a line has it and it is a share."""
        return self.span(line) if self.span else None

    def is_on(self, entries: Iterable[Entry]) -> bool:
        """Whether it stands on a board of these entries."""
        if self.is_usual or self.family is None:
            return True
        return any(
            entry.family(self.family) is not None or not entry.is_applicable(self.family)
            for entry in entries
        )


def _family(column: Column) -> BoardColumn:
    mark = cells.native if column is Column.AUTOATTACK else lambda _: ""
    return BoardColumn(
        name=column.value,
        title=column.heading,
        short=column.short,
        cell=lambda line: cells.family_cell(line.entry, column) + mark(line.entry),
        span=lambda line: line.entry.family_rate(column),
        family=column,
        is_usual=column not in (Column.BLACK_BOX, Column.KNOWN_DRAW),
    )


def _passes(line: Line) -> str:
    cost = line.entry.cost
    return f"{cells.amount(cost.forwards_per_image)} / {cells.amount(cost.backwards_per_image)}"


CLEAN = BoardColumn(
    name=Column.CLEAN.value,
    title=Column.CLEAN.heading,
    short=Column.CLEAN.short,
    cell=lambda line: cells.percent(line.entry.clean.single.value if line.entry.clean else None),
    span=lambda line: line.entry.clean.single if line.entry.clean else None,
)
WORST = BoardColumn(
    name="worst",
    title="worst case (95 %)",
    short="worst case",
    cell=lambda line: cells.worst_cell(line.entry),
    span=lambda line: line.entry.worst.single if line.entry.worst else None,
)
GAIN = BoardColumn(
    name="gain",
    title="over undefended (95 %)",
    short="over undefended",
    cell=cells.gain_cell,
    span=lambda line: line.gain,
)
IMAGES = BoardColumn(name="n", title="n", short="n", cell=lambda line: str(line.entry.dataset.n))
BOARD_COLUMNS = (
    CLEAN,
    *map(_family, FAMILIES),
    WORST,
    GAIN,
    BoardColumn(
        name="passes", title="passes per image (forward / backward)", short="", cell=_passes
    ),
    BoardColumn(
        name="seconds",
        title="seconds per image",
        short="s/img",
        cell=lambda line: cells.amount(line.entry.cost.seconds_per_image),
    ),
    IMAGES,
)
"""In the order in which they stand; another one is another line here."""
CLASS_COLUMNS = (
    BoardColumn(
        name="clean-class",
        title="worst class, clean",
        short="",
        cell=lambda line: (cells.class_cells(line.entry) or ["–"])[0],
        span=lambda line: line.entry.worst_class.clean.rate if line.entry.worst_class else None,
    ),
    BoardColumn(
        name="worst-class",
        title="worst class, worst case",
        short="",
        cell=lambda line: (cells.class_cells(line.entry) or ["–"])[-1],
        span=lambda line: line.entry.worst_class.worst.rate if line.entry.worst_class else None,
    ),
)
"""Of the class that has least: on no board, where they stand in a table of their own; in tables for papers."""
FIGURES = [c for c in BOARD_COLUMNS if c.name in ("clean", "oblivious", "adaptive", "worst")]
"""Those that stand large on an entry's page, and beside a paper's claim."""


def columns_of(entries: Sequence[Entry]) -> list[BoardColumn]:
    """The columns of a board of these entries."""
    return [column for column in BOARD_COLUMNS if column.is_on(entries)]
