"""What a board page and the index say, made from entries: rows, notes and references, ready for a template."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from benchmark.publishing.cells import numbers, percent
from benchmark.publishing.diagnosis_table import HEADERS as HEADERS_OF_DIAGNOSIS
from benchmark.publishing.diagnosis_table import TITLE, diagnosis_rows
from benchmark.publishing.entry import Entry
from benchmark.publishing.flags import EXPLANATIONS
from benchmark.publishing.leaderboard import (
    HEADERS,
    boards,
    gap_lines,
    has_black_box,
    headers_of,
    heading,
    numbered,
    remarks,
    twin,
)
from benchmark.publishing.marks import UNDIAGNOSED, elsewhere, flag_marks, footnotes, marks, raised
from benchmark.publishing.names import shortened
from benchmark.publishing.site.beside import Beside
from benchmark.publishing.site.panels import tradeoff
from benchmark.publishing.site.places import Placed, Shelf
from benchmark.publishing.site.views import (
    BoardView,
    Cell,
    Letter,
    Note,
    Reference,
    Row,
    Summary,
    Table,
)

CLEAN, OBLIVIOUS, WORST = "clean", "oblivious", "worst case (95 %)"
AUTOATTACK = "AutoAttack (native)"
THEIRS = "RobustBench’s own"
NAME_LENGTH = 48
"""Characters of a name in a table; the entry's own page says all of it."""


def board_views(shelf: Shelf, beside: Beside) -> list[BoardView]:
    """The boards of a page, ready for its template; no two have the same heading."""
    found = [heading([placed.entry for placed in board]) for board in shelf.boards]
    views = []
    for number, (board, said) in enumerate(zip(shelf.boards, found, strict=True), start=1):
        view = _board_view(board, number, beside)
        other = f"{said}, sha256 {view.protocol_sha256[:8]}, images {view.shape}"
        views.append(replace(view, heading=said if found.count(said) == 1 else other))
    return views


def _board_view(board: Sequence[Placed], number: int, beside: Beside) -> BoardView:
    entries = [placed.entry for placed in board]
    key = f"board-{number}"
    found = marks(entries)
    letters = {letter: Letter(letter, flag, f"{key}-{letter}") for flag, letter in found.items()}
    letters[UNDIAGNOSED] = Letter(UNDIAGNOSED, "without a diagnosis", f"{key}-undiagnosed")
    rows = [
        _row(
            place,
            placed,
            texts(placed.entry, entries),
            [letters[mark] for mark in flag_marks(placed.entry, entries, found)],
        )
        for (place, _), placed in zip(numbered(entries), board, strict=True)
    ]
    first = entries[0]
    return BoardView(
        key=key,
        heading=heading(entries),
        protocol_sha256=first.protocol.sha256,
        shape=" × ".join(map(str, first.threat.input_shape)),
        columns=tuple(_reordered(texts(first, entries))),
        worst=WORST,
        rows=tuple(rows),
        references=(*_undefended(entries), *_theirs(entries, beside)),
        notes=(*_notes(entries, found, letters), *_sources(entries, beside)),
        tables=tuple(_tables(entries)),
        chart=tradeoff(board, number),
    )


def texts(entry: Entry, board: Sequence[Entry]) -> dict[str, str]:
    """What `cells.numbers` says of an entry of a board, by the title of its column."""
    titles = headers_of(board, HEADERS)
    said = numbers(entry, has_black_box=has_black_box(board))
    return dict(zip(titles[titles.index("clean") : titles.index("n")], said, strict=True))


def _row(place: str, placed: Placed, said: dict[str, str], letters: Sequence[Letter]) -> Row:
    entry = placed.entry
    return Row(
        place=place,
        defense=shortened(entry.defense.label, NAME_LENGTH),
        mark=elsewhere(entry),
        remarks=remarks(entry).strip(" ()"),
        page=placed.page,
        classifier=shortened(entry.classifier.name, NAME_LENGTH),
        cells=tuple((title, Cell.of(said[title])) for title in _reordered(said)),
        worst=entry.worst.single if entry.worst else None,
        n=entry.dataset.n,
        letters=tuple(letters),
        is_flagged=bool(raised(entry)),
    )


def _reordered(titles: Iterable[str]) -> list[str]:
    """The columns as a page shows them: clean and worst case first."""
    return [CLEAN, WORST, *(title for title in titles if title not in (CLEAN, WORST))]


def _undefended(entries: Sequence[Entry]) -> Iterator[Reference]:
    """Each bare classifier of a board, on the images of its rows."""
    seen = set()
    for entry in entries:
        bare = entry.undefended
        rates = {CLEAN: bare.clean, OBLIVIOUS: bare.oblivious}
        known = (entry.classifier.name, entry.classifier.sha256, entry.dataset.n, str(rates))
        if known in seen or not any(rates.values()):
            continue
        seen.add(known)
        yield Reference(
            name="undefended",
            classifier=shortened(entry.classifier.name, NAME_LENGTH),
            values={title: Cell.of(percent(rate)) for title, rate in rates.items() if rate},
            n=entry.dataset.n,
        )


def _theirs(entries: Sequence[Entry], beside: Beside) -> Iterator[Reference]:
    """RobustBench's own numbers of the classifiers of a board, undefended; not measured here."""
    for each, n in beside.references(entries):
        values = {CLEAN: Cell.of(each.clean), AUTOATTACK: Cell.of(each.autoattack)}
        yield Reference(
            name=THEIRS, classifier=shortened(each.model, NAME_LENGTH), values=values, n=n
        )


def _sources(entries: Sequence[Entry], beside: Beside) -> Iterator[Note]:
    for each, n in beside.references(entries):
        doubt = "; they mark it as unreliable" if each.unreliable else ""
        lower = f"; {each.external} % at best attack known to them" if each.external else ""
        yield Note(
            "",
            f"{THEIRS}: {each.model} undefended, as RobustBench publishes it, on {n} images; not measured here"
            f"{lower}{doubt}: {each.title}, {each.venue} ({each.link})",
        )


def _notes(
    entries: Sequence[Entry], found: dict[str, str], letters: dict[str, Letter]
) -> Iterator[Note]:
    """The footnotes and the gaps; a note that begins with a letter is where that letter leads."""
    for text in footnotes(entries, found):
        letter = letters.get(text.partition(":")[0])
        yield Note(letter.anchor if letter else "", text)
    for text in gap_lines(entries):
        yield Note("", text)


def _tables(entries: Sequence[Entry]) -> Iterator[Table]:
    """What stands below a board; whatever else a board has to say is yielded here."""
    diagnosed = diagnosis_rows(entries)
    if diagnosed:
        yield Table(TITLE, HEADERS_OF_DIAGNOSIS, tuple(map(tuple, diagnosed)))
    random = [entry for entry in entries if entry.defense.stochastic]
    if random:
        headers = ("defense", "classifier", "single draw", "vote of k", "any of n", "draws, k, n")
        caption = "Stochastic victims under each rule: clean, then worst case with its interval."
        yield Table(caption, headers, tuple(map(_rules, random)))


def _rules(entry: Entry) -> tuple[str, ...]:
    asked = entry.criterion
    return (
        shortened(entry.defense.label, NAME_LENGTH),
        shortened(entry.classifier.name, NAME_LENGTH),
        *(twin(entry, rule) for rule in ("single", "vote", "any_of")),
        f"{asked.draws}, {asked.vote}, {asked.any_of}",
    )


def summaries(shelf: Shelf) -> Iterator[Summary]:
    """A line of the index for each board of a page."""
    for i, board in enumerate(shelf.boards, start=1):
        first = board[0].entry
        is_ranked = first.status == "complete"
        yield Summary(
            dataset=shortened(first.dataset.name, NAME_LENGTH),
            threat=shortened(first.threat.text, NAME_LENGTH),
            protocol=f"{shortened(first.protocol.name, NAME_LENGTH)}, version {first.protocol.version}",
            preliminary=all(placed.entry.preliminary for placed in board),
            page=f"{shelf.page}#board-{i}",
            n_entries=len(board),
            best=shortened(first.defense.label, NAME_LENGTH) if is_ranked else "",
            best_value=texts(first, [first])[WORST] if is_ranked else "",
        )


def explained(entries: Sequence[Entry]) -> list[tuple[str, str]]:
    """Every flag that an entry of these has, raised or not, with what it means to be raised."""
    found = {flag.id for board in boards(entries) for entry in board for flag in entry.flags}
    return [(name, text) for name, text in EXPLANATIONS.items() if name in found]
