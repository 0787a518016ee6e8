"""The leaderboard: entries ranked within one protocol, and rendered as Markdown or text; pure, no torch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

from tabulate import tabulate

from benchmark.protocol import Column
from benchmark.publishing.cells import bound, numbers, percent, with_interval
from benchmark.publishing.diagnosis_table import HEADERS as DIAGNOSIS_HEADERS
from benchmark.publishing.diagnosis_table import TITLE as DIAGNOSIS_TITLE
from benchmark.publishing.diagnosis_table import diagnosis_rows
from benchmark.publishing.entry import Entry
from benchmark.publishing.gap_lines import gap_lines as gap_lines
from benchmark.publishing.marks import elsewhere, flag_marks, footnotes, marks
from benchmark.publishing.names import markdown, plain, shortened

NAME_WIDTH = 18
"""Characters of a name in the terminal's table."""
BLACK_BOX, SHORT_BLACK_BOX = "black-box (queries)", "query"
"""A column that stands only on boards where some entry has it."""
HEADERS = (
    "rank",
    "defense",
    "classifier",
    "clean",
    "oblivious",
    "AutoAttack (native)",
    "BPDA+EOT (adaptive)",
    "auxiliary-aware",
    "transfer",
    BLACK_BOX,
    "worst case (95 %)",
    "passes per image (forward / backward)",
    "seconds per image",
    "n",
    "flags",
)
SHORT_HEADERS = (
    "#",
    "defense",
    "classifier",
    "clean",
    "obliv",
    "AA",
    "adapt",
    "aux",
    "transf",
    SHORT_BLACK_BOX,
    "worst case",
    "passes f/b",
    "s/img",
    "n",
    "flags",
)


def rank(entries: Iterable[Entry]) -> list[Entry]:
    """Entries in order: board by board, and on each board the most robust first.

    A board holds what may be compared: one dataset and order of its images, one threat, and one protocol
    (name, version and content). On it,
    rows without gaps come before rows with gaps, rows on all images that the protocol asks for before
    preliminary ones, then higher worst-case accuracy (single draws), then higher clean accuracy.
    """
    return sorted(entries, key=lambda entry: (_board(entry), _place(entry)))


def boards(entries: Iterable[Entry]) -> list[list[Entry]]:
    """The entries of `rank`, one list for each board."""
    return [list(board) for _, board in groupby(rank(entries), key=_board)]


def _board(entry: Entry) -> tuple[Any, ...]:
    dataset, threat, protocol = entry.dataset, entry.threat, entry.protocol
    return (
        dataset.name,
        dataset.split,
        dataset.order,
        dataset.only_classes,
        threat.norm,
        threat.eps,
        threat.input_shape,
        protocol.name != "standard",
        protocol.name,
        -protocol.version,
        protocol.sha256,
    )


def _place(entry: Entry) -> tuple[Any, ...]:
    return (
        entry.status == "gaps",
        entry.preliminary,
        -entry.worst.single.value if entry.worst else 0.0,
        -entry.clean.single.value if entry.clean else 0.0,
        entry.defense.label,
        entry.classifier.name,
        entry.attacks[0].job_key if entry.attacks else "",
    )


def to_markdown(entries: Iterable[Entry], title: str, left_out: Sequence[str] = ()) -> str:
    """A page: one table for each board, with its flags and gaps explained below it.

    Args:
        entries: In any order.
        title: The page's heading.
        left_out: Files that could not be read, one line each; they are named on the page.
    """
    parts = [
        f"# {markdown(title)}",
        "`bench run` writes this page from the entries (`*.json`) of its folder; each holds its own command. "
        "Accuracies in %, of the true label, on all n images in every column; 95 % intervals are "
        "Wilson's for one outcome an image, else a bootstrap over images. Worst case: for each image one "
        "candidate is chosen over the clean image and all attacks that count, and scored on fresh draws.",
    ]
    parts += [_markdown_board(board) for board in boards(entries)]
    if left_out:
        parts.append("Left out, because they cannot be read:")
        parts.append("\n".join(f"- {markdown(line)}" for line in left_out))
    return "\n\n".join(parts) + "\n"


def _markdown_board(board: Sequence[Entry]) -> str:
    letters = marks(board)
    rows = []
    for place, entry in numbered(board):
        flags = " ".join(flag_marks(entry, board, letters)) or "–"
        defense = f"{markdown(entry.defense.label)}{elsewhere(entry)}{remarks(entry)}"
        names = [place, defense, markdown(entry.classifier.name)]
        cells = numbers(entry, has_black_box=has_black_box(board))
        rows.append([*names, *cells, str(entry.dataset.n), flags])
    table = _pipe(rows, headers_of(board, HEADERS))
    parts = [f"## {markdown(heading(board))}", _about(board[0]), table]
    if any(entry.defense.stochastic for entry in board):
        parts += ["Stochastic victims under each rule, clean → worst case:", _rules_table(board)]
    diagnosed = [[markdown(cell) for cell in row] for row in diagnosis_rows(board)]
    if diagnosed:
        parts += [DIAGNOSIS_TITLE, _pipe(diagnosed, DIAGNOSIS_HEADERS)]
    notes = [*footnotes(board, letters), *gap_lines(board)]
    if notes:
        parts.append("\n".join(f"- {markdown(note)}" for note in notes))
    return "\n\n".join(parts)


def has_black_box(board: Sequence[Entry]) -> bool:
    """Whether some entry of a board was attacked by queries alone, or would be if its task had more classes."""
    return any(
        entry.columns.black_box is not None or not entry.is_applicable(Column.BLACK_BOX)
        for entry in board
    )


def headers_of(board: Sequence[Entry], headers: Sequence[str]) -> list[str]:
    """The headers of a board's columns."""
    left_out = () if has_black_box(board) else (BLACK_BOX, SHORT_BLACK_BOX)
    return [name for name in headers if name not in left_out]


def _rules_table(board: Sequence[Entry]) -> str:
    rows = []
    for entry in board:
        if entry.defense.stochastic:
            asked = entry.criterion
            name = f"{markdown(entry.defense.label)} / {markdown(entry.classifier.name)}"
            cells = [twin(entry, rule) for rule in ("single", "vote", "any_of")]
            rows.append([name, *cells, f"{asked.draws}, {asked.vote}, {asked.any_of}"])
    headers = ("defense / classifier", "single draw", "vote of k", "any of n", "draws, k, n")
    return _pipe(rows, headers)


def twin(entry: Entry, rule: str) -> str:
    """Clean accuracy and worst case under one rule."""
    if entry.clean is None or entry.worst is None:
        return "gap"
    clean, worst = getattr(entry.clean, rule), getattr(entry.worst, rule)
    return f"{percent(clean)} → {bound(entry)}{with_interval(worst)}"


def to_text(entries: Iterable[Entry]) -> str:
    """The boards for a terminal of about 120 columns."""
    return "\n\n".join(_text_board(board) for board in boards(entries)) + "\n"


def _text_board(board: Sequence[Entry]) -> str:
    letters = marks(board)
    rows = [
        [
            place,
            _short_label(entry),
            shortened(entry.classifier.name, NAME_WIDTH),
            *numbers(entry, is_short=True, has_black_box=has_black_box(board)),
            str(entry.dataset.n),
            "".join(flag_marks(entry, board, letters)),
        ]
        for place, entry in numbered(board)
    ]
    headers = headers_of(board, SHORT_HEADERS)
    aligned = ("right", "left", "left", *["right"] * (len(headers) - 4), "left")
    table = tabulate([headers, *rows], tablefmt="plain", colalign=aligned, disable_numparse=True)
    lines = (*_whole_names(board), *footnotes(board, letters), *gap_lines(board))
    notes = [f"  {plain(note)}" for note in lines]
    return "\n".join([plain(heading(board)), table, *notes])


def _short_label(entry: Entry) -> str:
    mark = elsewhere(entry)
    return shortened(entry.defense.label, NAME_WIDTH - len(mark)) + mark


def _whole_names(board: Sequence[Entry]) -> list[str]:
    """The names that a narrow table cuts off, by the row's place."""
    return [
        f"{place}: {entry.defense.label} on {entry.classifier.name}"
        for place, entry in numbered(board)
        if max(len(plain(entry.defense.label)), len(plain(entry.classifier.name))) > NAME_WIDTH
    ]


def numbered(board: Sequence[Entry]) -> list[tuple[str, Entry]]:
    """The entries of a board with their ranks; one with gaps has none."""
    return [
        ("–" if entry.status == "gaps" else str(i), entry) for i, entry in enumerate(board, start=1)
    ]


def remarks(entry: Entry) -> str:
    """What stands behind a name, in brackets: that a row is preliminary, or no add-on."""
    words = {"preliminary": entry.preliminary, "not add-on": not entry.defense.add_on}
    said = ", ".join(word for word, holds in words.items() if holds)
    return f" ({said})" if said else ""


def heading(board: Sequence[Entry]) -> str:
    """What a board compares: images, threat and protocol."""
    dataset, threat, protocol = board[0].dataset, board[0].threat, board[0].protocol
    preliminary = " (preliminary)" if all(entry.preliminary for entry in board) else ""
    order = "" if dataset.order == "nested" else ", RobustBench's first n"
    if dataset.only_classes:
        order += f", classes {', '.join(map(str, dataset.only_classes))} alone"
    return (
        f"{dataset.name} {dataset.split}{order}, {threat.text}: protocol {protocol.name}, version "
        f"{protocol.version}{preliminary}"
    )


def _about(entry: Entry) -> str:
    c, h, w = entry.threat.input_shape
    return f"Protocol sha256 {markdown(entry.protocol.sha256[:16])}; images {c} x {h} x {w}."


def _pipe(rows: Sequence[Sequence[str]], headers: Sequence[str]) -> str:
    return tabulate(rows, headers, tablefmt="pipe", disable_numparse=True)
