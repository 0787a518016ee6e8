"""What a board page and the index say, made from entries: rows, notes and references, ready for a template."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from benchmark.publishing.leaderboard.board_text import (
    RULES_HEADERS,
    fewer_lines,
    heading,
    name_of,
    place_of,
    remarks,
    rules_cells,
    undefended_lines,
)
from benchmark.publishing.leaderboard.columns import (
    AUTOATTACK,
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
    name_marks,
    raised,
)
from benchmark.publishing.leaderboard.ranking import Board, Group, Line
from benchmark.publishing.site.panels import tradeoff
from benchmark.publishing.site.references import Beside
from benchmark.publishing.site.urls import Shelf
from benchmark.publishing.site.views import (
    BoardView,
    Cell,
    GroupView,
    Letter,
    NamedCell,
    Note,
    Other,
    Reference,
    Row,
    Summary,
    Table,
)
from benchmark.records.entry import Entry, is_undefended
from benchmark.scoring.flags import EXPLANATIONS

THEIRS = "RobustBench’s own"
NAME_LENGTH = 48
"""Characters of a name in a table; the entry's own page says all of it."""


@dataclass(frozen=True, slots=True)
class _Context:
    """What all rows of a board share.

    Args:
        shelf: Its page.
        board: The board.
        columns: As the page shows them.
        found: A letter for each raised flag.
        letters: Each letter with its note.
        beside: Numbers of others.
    """

    shelf: Shelf
    board: Board
    columns: tuple[BoardColumn, ...]
    found: dict[str, str]
    letters: Mapping[str, Letter]
    beside: Beside


def board_views(shelf: Shelf, beside: Beside) -> list[BoardView]:
    """The boards of a page, ready for its template; no two have the same heading."""
    found = [heading(board) for board in shelf.boards]
    views = []
    for number, (board, said) in enumerate(zip(shelf.boards, found, strict=True), start=1):
        view = _board_view(shelf, board, number, beside)
        other = f"{said}, sha256 {view.protocol_sha256[:8]}, images {view.shape}"
        views.append(replace(view, heading=said if found.count(said) == 1 else other))
    return views


def _board_view(shelf: Shelf, board: Board, number: int, beside: Beside) -> BoardView:
    entries = board.entries
    key = f"board-{number}"
    found = marks(entries)
    letters = {letter: Letter(letter, flag, f"{key}-{letter}") for flag, letter in found.items()}
    letters[UNDIAGNOSED] = Letter(UNDIAGNOSED, "without a diagnosis", f"{key}-undiagnosed")
    context = _Context(shelf, board, _ordered(columns_of(entries)), found, letters, beside)
    return BoardView(
        key=key,
        heading=heading(board),
        protocol_sha256=board.first.protocol.sha256,
        shape=" × ".join(map(str, board.first.threat.input_shape)),
        columns=context.columns,
        n_rows=sum(len(group.lines) for group in board.groups),
        groups=tuple(_group_view(context, group) for group in board.groups),
        notes=(*_notes(context), *_sources(entries, beside)),
        others=tuple(_others(shelf, board)),
        tables=tuple(_tables(entries)),
        chart=tradeoff(shelf, board, number),
    )


def _ordered(columns: Sequence[BoardColumn]) -> tuple[BoardColumn, ...]:
    """The columns as a page shows them: what is ranked by and the difference beside it first."""
    front = (CLEAN, WORST, GAIN, IMAGES)
    return (*front, *(column for column in columns if column not in front))


def _group_view(context: _Context, group: Group) -> GroupView:
    return GroupView(
        classifier=shortened(group.classifier.name, NAME_LENGTH),
        header=_row(context, group.header) if group.header else None,
        rows=tuple(_row(context, line) for line in group.lines),
        references=tuple(_theirs(group, context.beside)),
    )


def _row(context: _Context, line: Line) -> Row:
    entry = line.entry
    is_header = is_undefended(entry)
    name = entry.classifier.name if is_header else entry.defense.label
    flags = flag_marks(entry, context.board.entries, context.found)
    return Row(
        place="" if is_header else place_of(line),
        name=shortened(name, NAME_LENGTH),
        mark=name_marks(entry),
        remarks=remarks(entry).strip(" ()"),
        page=context.shelf.placed(entry).page,
        cells=tuple(NamedCell(c.name, Cell.of(c.cell(line))) for c in context.columns),
        worst=entry.worst.single if entry.worst else None,
        letters=tuple(context.letters[mark] for mark in flags),
        is_flagged=bool(raised(entry)),
    )


def _theirs(group: Group, beside: Beside) -> Iterator[Reference]:
    """RobustBench's own numbers of a group's classifier, undefended; not measured here."""
    entries = [line.entry for line in group]
    for each, n in beside.references(entries):
        values = {CLEAN.name: each.clean, AUTOATTACK.name: each.autoattack, "n": str(n)}
        cells = {name: Cell.of(text) for name, text in values.items()}
        yield Reference(name=f"{shortened(each.model, NAME_LENGTH)}, {THEIRS}", values=cells)


def _sources(entries: Sequence[Entry], beside: Beside) -> Iterator[Note]:
    for each, n in beside.references(entries):
        doubt = "; they mark it as unreliable" if each.unreliable else ""
        lower = f"; {each.external} % at best attack known to them" if each.external else ""
        yield Note(
            "",
            f"{THEIRS}: {each.model} undefended, as RobustBench publishes it, on {n} images; not measured here"
            f"{lower}{doubt}: {each.title}, {each.venue} ({each.link})",
        )


def _notes(context: _Context) -> Iterator[Note]:
    """The footnotes and the gaps; a note that begins with a letter is where that letter leads."""
    entries = context.board.entries
    for text in footnotes(entries, context.found):
        letter = context.letters.get(text.partition(":")[0])
        yield Note(letter.anchor if letter else "", text)
    board = context.board
    for text in (*gap_lines(entries), *undefended_lines(board), *fewer_lines(board)):
        yield Note("", text)


def _others(shelf: Shelf, board: Board) -> Iterator[Other]:
    for entry in board.others:
        name = shortened(name_of(entry), 2 * NAME_LENGTH)
        yield Other(f"{name}, n = {entry.dataset.n}", shelf.placed(entry).page)


def _tables(entries: Sequence[Entry]) -> Iterator[Table]:
    """What stands below a board; whatever else a board has to say is yielded here."""
    diagnosed = diagnosis_rows(entries)
    if diagnosed:
        yield Table(TITLE, HEADERS_OF_DIAGNOSIS, tuple(map(tuple, diagnosed)))
    random = [tuple(rules_cells(entry)) for entry in entries if entry.defense.stochastic]
    if random:
        caption = "Stochastic victims under each rule: clean, then worst case with its interval."
        shown = tuple((shortened(name, 2 * NAME_LENGTH), *cells) for name, *cells in random)
        yield Table(caption, RULES_HEADERS, shown)


def summaries(shelf: Shelf) -> Iterator[Summary]:
    """A line of the index for each classifier of each board of a page."""
    for i, board in enumerate(shelf.boards, start=1):
        for group in board.groups:
            yield _summary(board, group, f"{shelf.page}#board-{i}")


def _summary(board: Board, group: Group, page: str) -> Summary:
    first = board.first
    best = next((line for line in group.lines if line.place == 1), None)
    return Summary(
        dataset=shortened(first.dataset.name, NAME_LENGTH),
        threat=shortened(first.threat.text, NAME_LENGTH),
        protocol=f"{shortened(first.protocol.name, NAME_LENGTH)}, version {first.protocol.version}",
        preliminary=all(line.entry.preliminary for line in group),
        page=page,
        classifier=shortened(group.classifier.name, NAME_LENGTH),
        n_defenses=len(group.lines),
        undefended=WORST.cell(group.header) if group.header else "",
        best=shortened(best.entry.defense.label, NAME_LENGTH) if best else "",
        worst=WORST.cell(best) if best else "",
        gain=GAIN.cell(best) if best else "",
    )


def explained(shelves: Sequence[Shelf]) -> list[tuple[str, str]]:
    """Every flag that an entry of these has, raised or not, with what it means to be raised."""
    shown = [placed.entry for shelf in shelves for placed in shelf.places.values()]
    found = {flag.id for entry in shown for flag in entry.flags}
    return [(name, text) for name, text in EXPLANATIONS.items() if name in found]
