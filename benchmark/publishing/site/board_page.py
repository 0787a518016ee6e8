"""What a board page and the index say: a board with all that stands around it, as its template asks for it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from benchmark.publishing.leaderboard.board_text import (
    RULES_HEADERS,
    fewer_lines,
    heading,
    rules_cells,
    undefended_lines,
)
from benchmark.publishing.leaderboard.columns import (
    CLEAN,
    GAIN,
    IMAGES,
    WORST,
    BoardColumn,
    columns_of,
)
from benchmark.publishing.leaderboard.diagnosis_table import HEADERS as HEADERS_OF_DIAGNOSIS
from benchmark.publishing.leaderboard.diagnosis_table import TITLE, diagnosis_rows
from benchmark.publishing.leaderboard.escaping import shortened
from benchmark.publishing.leaderboard.footnotes import (
    UNDIAGNOSED,
    flag_marks,
    footnotes,
    gap_lines,
    marks,
)
from benchmark.publishing.leaderboard.ranking import Board, BoardGroup, Line
from benchmark.publishing.site.cell import Cell
from benchmark.publishing.site.panels import Chart, tradeoff
from benchmark.publishing.site.references import Beside
from benchmark.publishing.site.urls import Shelf
from benchmark.records.entry import Entry
from benchmark.records.protocol import Column
from benchmark.scoring.flags import EXPLANATIONS

THEIRS = "RobustBench’s own"
NAME_LENGTH = 48
"""Characters of a name in a table; the entry's own page says all of it."""


@dataclass(frozen=True)
class BoardView:
    """One table with all that stands around it.

    Args:
        shelf: Its page.
        board: What may be compared.
        number: Of the board on its page, from 1.
        beside: Numbers of others.
    """

    shelf: Shelf
    board: Board
    number: int
    beside: Beside

    @property
    def key(self) -> str:
        """Unlike that of any other board on the page."""
        return f"board-{self.number}"

    @property
    def first(self) -> Entry:
        """An entry that stands for all, where they agree."""
        return self.board.first

    @property
    def shape(self) -> str:
        """Of its images."""
        return " × ".join(map(str, self.first.threat.input_shape))

    @cached_property
    def heading(self) -> str:
        """What it compares; no two boards of a page have the same."""
        said = heading(self.board)
        if [heading(board) for board in self.shelf.boards].count(said) == 1:
            return said
        return f"{said}, sha256 {self.first.protocol.sha256[:8]}, images {self.shape}"

    @cached_property
    def columns(self) -> tuple[BoardColumn, ...]:
        """The columns as a page shows them: what is ranked by and the difference beside it first."""
        front = (CLEAN, WORST, GAIN, IMAGES)
        return (*front, *(each for each in columns_of(self.entries) if each not in front))

    @cached_property
    def entries(self) -> list[Entry]:
        """Those that have a row."""
        return self.board.entries

    @cached_property
    def _marks(self) -> dict[str, str]:
        """A letter for each raised flag."""
        return marks(self.entries)

    def letters(self, line: Line) -> Iterator[tuple[str, str, str]]:
        """The marks of a row's flags: each with what it stands for, and the place of its note."""
        meanings = {letter: flag for flag, letter in self._marks.items()}
        for mark in flag_marks(line.entry, self.entries, self._marks):
            yield mark, meanings.get(mark, "without a diagnosis"), self._anchor(mark)

    def _anchor(self, mark: str) -> str:
        """The place of a mark's note; empty for what is no mark of a flag."""
        names = {UNDIAGNOSED: "undiagnosed", **{letter: letter for letter in self._marks.values()}}
        return f"{self.key}-{names[mark]}" if mark in names else ""

    def references(self, group: BoardGroup) -> Iterator[tuple[str, dict[str, Cell]]]:
        """RobustBench's own numbers of a group's classifier, undefended: name, and cells by column."""
        for each, n in self.beside.references([line.entry for line in group]):
            values = {"clean": each.clean, Column.AUTOATTACK.value: each.autoattack, "n": str(n)}
            cells = {name: Cell.of(text) for name, text in values.items()}
            yield f"{shortened(each.model, NAME_LENGTH)}, {THEIRS}", cells

    def notes(self) -> Iterator[tuple[str, str]]:
        """The lines below the table, each with its place; a mark leads to the note that begins with it."""
        for text in footnotes(self.entries, self._marks):
            yield self._anchor(text.partition(":")[0]), text
        board = self.board
        for text in (*gap_lines(self.entries), *undefended_lines(board), *fewer_lines(board)):
            yield "", text
        for each, n in self.beside.references(self.entries):
            doubt = "; they mark it as unreliable" if each.unreliable else ""
            lower = f"; {each.external} % at best attack known to them" if each.external else ""
            yield (
                "",
                f"{THEIRS}: {each.model} undefended, as RobustBench publishes it, on {n} images; not measured "
                f"here{lower}{doubt}: {each.title}, {each.venue} ({each.link})",
            )

    def others(self) -> Iterator[tuple[str, str]]:
        """Entries that have a page and no row, since another one stands for them: name and link."""
        for entry in self.board.others:
            name = shortened(entry.name, 2 * NAME_LENGTH)
            yield f"{name}, n = {entry.dataset.n}", self.shelf.placed(entry).page

    def tables(self) -> Iterator[tuple[str, Sequence[str], Sequence[Sequence[str]]]]:
        """Caption, headers and rows of what stands below; whatever else a board has to say is yielded here."""
        diagnosed = diagnosis_rows(self.entries)
        if diagnosed:
            yield TITLE, HEADERS_OF_DIAGNOSIS, diagnosed
        random = [rules_cells(entry) for entry in self.entries if entry.defense.stochastic]
        if random:
            caption = (
                "Stochastic victims under each rule: clean, then worst case with its interval."
            )
            shown = [(shortened(name, 2 * NAME_LENGTH), *cells) for name, *cells in random]
            yield caption, RULES_HEADERS, shown

    def chart(self) -> Chart | None:
        """Clean against robust accuracy."""
        return tradeoff(self.shelf, self.board, self.number)


def summaries(shelf: Shelf) -> Iterator[dict[str, Any]]:
    """A line of the index for each classifier of each board of a page."""
    for i, board in enumerate(shelf.boards, start=1):
        for group in board.groups:
            best = next((line for line in group.lines if line.place == 1), None)
            yield {
                "first": board.first,
                "page": f"{shelf.page}#board-{i}",
                "preliminary": all(line.entry.preliminary for line in group),
                "classifier": group.classifier.name,
                "n_defenses": len(group.lines),
                "undefended": WORST.cell(group.header) if group.header else "",
                "best": best.entry.defense.label if best else "",
                "worst": WORST.cell(best) if best else "",
                "gain": GAIN.cell(best) if best else "",
            }


def explained(shelves: Sequence[Shelf]) -> list[tuple[str, str]]:
    """Every flag that an entry of these has, raised or not, with what it means to be raised."""
    shown = [placed.entry for shelf in shelves for placed in shelf.places.values()]
    found = {flag.id for entry in shown for flag in entry.flags}
    return [(name, text) for name, text in EXPLANATIONS.items() if name in found]
