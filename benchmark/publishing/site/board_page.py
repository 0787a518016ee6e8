"""What a board page and the index say: a board with all that stands around it, as its template asks for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchmark.publishing.leaderboard import board_text, diagnosis_table, footnotes
from benchmark.publishing.leaderboard.cells import Cell
from benchmark.publishing.leaderboard.columns import CLEAN, GAIN, IMAGES, WORST, columns_of
from benchmark.publishing.leaderboard.escaping import shortened
from benchmark.publishing.leaderboard.ranking import Board, BoardGroup
from benchmark.publishing.leaderboard.seeds import spread_lines, wanted_lines
from benchmark.publishing.site.panels import tradeoff
from benchmark.publishing.site.references import Beside
from benchmark.publishing.site.urls import Shelf
from benchmark.records.entry import Entry
from benchmark.records.protocol import Column
from benchmark.scoring.flag_explanations import EXPLANATIONS

THEIRS = "RobustBench’s own"
CLASS_TITLE = "Accuracy, and that of the class that has least of it."
CLASS_HEADERS = ("defense / classifier", "clean → worst class", "worst case → worst class")
NAME_LENGTH = 48
"""Characters of a name in a table; the entry's own page says all of it."""


def board_view(shelf: Shelf, board: Board, number: int, beside: Beside) -> dict[str, Any]:
    """One table with all that stands around it, ready for its template; `number` is its own on its page."""
    key, entries, front = f"board-{number}", board.entries, (CLEAN, WORST, GAIN, IMAGES)
    letters = footnotes.marks(entries)
    meanings = {letter: flag for flag, letter in letters.items()}
    meanings[footnotes.UNDIAGNOSED] = "without a diagnosis"
    places = {mark: f"{key}-{mark}" for mark in meanings} | {
        footnotes.UNDIAGNOSED: f"{key}-undiagnosed"
    }
    shape = " × ".join(map(str, board.first.threat.input_shape))
    said = board_text.heading(board)
    if [board_text.heading(other) for other in shelf.boards].count(said) > 1:
        said += f", sha256 {board.first.protocol.sha256[:8]}, images {shape}"
    return {
        "key": key,
        "shelf": shelf,
        "board": board,
        "heading": said,
        "shape": shape,
        "columns": [*front, *(each for each in columns_of(entries) if each not in front)],
        "letters": lambda line: [
            (mark, meanings[mark], places[mark])
            for mark in footnotes.flag_marks(line.entry, entries, letters)
        ],
        "references": lambda group: list(_references(group, beside)),
        "notes": list(_notes(board, letters, places, beside)),
        "others": [
            (
                f"{shortened(entry.name, 2 * NAME_LENGTH)}, n = {entry.dataset.n}",
                shelf.placed(entry).page,
            )
            for entry in board.others
        ],
        "tables": list(_tables(entries)),
        "chart": tradeoff(shelf, board, number),
    }


def _references(group: BoardGroup, beside: Beside) -> Iterator[tuple[str, dict[str, Cell]]]:
    """RobustBench's own numbers of a group's classifier, undefended: name, and cells by column."""
    for each, n in beside.references([line.entry for line in group]):
        values = {"clean": each.clean, Column.AUTOATTACK.value: each.autoattack, "n": str(n)}
        cells = {name: Cell.of(text) for name, text in values.items()}
        yield f"{shortened(each.model, NAME_LENGTH)}, {THEIRS}", cells


def _notes(
    board: Board, letters: dict[str, str], places: Mapping[str, str], beside: Beside
) -> Iterator[tuple[str, str]]:
    """The lines below the table, each with its place; a mark leads to the note that begins with it."""
    for text in (*spread_lines(board), *wanted_lines(board)):
        yield "", text
    for text in footnotes.footnotes(board.entries, letters):
        yield places.get(text.partition(":")[0], ""), text
    for text in (
        *footnotes.gap_lines(board.entries),
        *board_text.undefended_lines(board),
        *board_text.fewer_lines(board),
    ):
        yield "", text
    for each, n in beside.references(board.entries):
        doubt = "; they mark it as unreliable" if each.unreliable else ""
        lower = f"; {each.external} % at best attack known to them" if each.external else ""
        yield (
            "",
            f"{THEIRS}: {each.model} undefended, as RobustBench publishes it, on {n} images; not measured "
            f"here{lower}{doubt}: {each.title}, {each.venue} ({each.link})",
        )


def _tables(
    entries: Sequence[Entry],
) -> Iterator[tuple[str, Sequence[str], Sequence[Sequence[str]]]]:
    """Caption, headers and rows of what stands below; whatever else a board has to say is yielded here."""
    if classed := board_text.class_rows(entries):
        shown = [(shortened(name, 2 * NAME_LENGTH), *cells) for name, *cells in classed]
        yield CLASS_TITLE, CLASS_HEADERS, shown
    if diagnosed := diagnosis_table.diagnosis_rows(entries):
        yield diagnosis_table.TITLE, diagnosis_table.HEADERS, diagnosed
    random = [board_text.rules_cells(entry) for entry in entries if entry.defense.stochastic]
    if random:
        caption = "Stochastic victims under each rule: clean, then worst case with its interval."
        shown = [(shortened(name, 2 * NAME_LENGTH), *cells) for name, *cells in random]
        yield caption, board_text.RULES_HEADERS, shown


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
