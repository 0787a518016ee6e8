"""The leaderboard: boards rendered as Markdown or text; pure, no torch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tabulate import tabulate

from benchmark.engine.criterion import Rule
from benchmark.publishing.leaderboard import diagnosis_table, footnotes
from benchmark.publishing.leaderboard.cells import bound, class_cells, percent, pipe, with_interval
from benchmark.publishing.leaderboard.columns import WORST, columns_of
from benchmark.publishing.leaderboard.eligibility import why_unranked
from benchmark.publishing.leaderboard.escaping import markdown, plain, shortened
from benchmark.publishing.leaderboard.ranking import Board, Line, boards, unlike_protocol
from benchmark.publishing.leaderboard.seeds import spread_lines, wanted_lines
from benchmark.records.entry import Entry, is_undefended
from benchmark.records.rates import RULES

NAME_WIDTH = 18
"""Characters of a name in the terminal's table."""
ALONE = " alone"
"""Stands behind a classifier's name in the terminal's table."""
NOT_MEASURED = "not measured"
RULES_HEADERS = (
    "defense / classifier",
    *(rule.said.format(rule.symbol) for rule in RULES.values()),
    ", ".join(["draws", *filter(None, (rule.symbol for rule in RULES.values()))]),
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
        "candidate is chosen over the clean image and all attacks that count, and scored on fresh draws. "
        "Defenses are ranked by it among those before the same classifier, whose own line, undefended, stands "
        "above them; *over undefended* is the difference to that line in points, image by image.",
    ]
    parts += [_markdown_board(board) for board in boards(entries)]
    if left_out:
        parts.append("Left out, because they cannot be read:")
        parts.append("\n".join(f"- {markdown(line)}" for line in left_out))
    return "\n\n".join(parts) + "\n"


def _markdown_board(board: Board) -> str:
    entries = board.entries
    columns, letters = columns_of(entries), footnotes.marks(entries)

    def row(line: Line, name: str, place: str = "") -> list[str]:
        flags = " ".join(footnotes.flag_marks(line.entry, entries, letters)) or "–"
        said = f"{name}{footnotes.name_marks(line.entry)}{remarks(line.entry)}"
        return [place, said, *(column.cell(line) for column in columns), flags]

    rows = []
    for group in board.groups:
        name = f"{group.classifier.name}, undefended"
        nothing = ["", f"{name}: {NOT_MEASURED}", *("" for _ in columns), ""]
        rows.append(row(group.header, name) if group.header else nothing)
        for line in group.lines:
            rows.append(row(line, line.entry.defense.label, place_of(line)))
    table = pipe(rows, ["rank", "defense", *(column.title for column in columns), "flags"])
    c, h, w = board.first.threat.input_shape
    sha256 = markdown(board.first.protocol.sha256[:16])
    about = f"Protocol sha256 {sha256}; images {c} x {h} x {w}."
    parts = [f"## {markdown(heading(board))}", about, table]
    random = [rules_cells(entry) for entry in entries if entry.defense.stochastic]
    if random:
        parts += ["Stochastic victims under each rule, clean → worst case:"]
        parts += [pipe(random, RULES_HEADERS)]
    if diagnosed := diagnosis_table.diagnosis_rows(entries):
        parts += [diagnosis_table.TITLE, pipe(diagnosed, diagnosis_table.HEADERS)]
    notes = [
        *spread_lines(board),
        *wanted_lines(board),
        *_class_lines(entries),
        *footnotes.footnotes(entries, letters),
        *footnotes.gap_lines(entries),
        *fewer_lines(board),
        *other_lines(board),
    ]
    if notes:
        parts.append("\n".join(f"- {markdown(note)}" for note in notes))
    return "\n\n".join(parts)


def class_rows(entries: Iterable[Entry]) -> list[list[str]]:
    """For each entry that says it its name, and clean accuracy and worst case with their worst class."""
    return [[_who(entry), *said] for entry in entries if (said := class_cells(entry))]


def _who(entry: Entry) -> str:
    name = entry.classifier.name
    return f"{name}, undefended" if is_undefended(entry) else f"{entry.defense.label} / {name}"


def rules_cells(entry: Entry) -> list[str]:
    """A stochastic victim under each rule, its name first; not escaped."""
    asked = entry.criterion
    return [
        f"{entry.defense.label} / {entry.classifier.name}",
        *(_twin(entry, rule) for rule in Rule),
        f"{asked.draws}, {asked.vote}, {asked.any_of}",
    ]


def _twin(entry: Entry, rule: Rule) -> str:
    """Clean accuracy and worst case under one rule."""
    if entry.clean is None or entry.worst is None:
        return "gap"
    clean, worst = entry.clean.under(rule), entry.worst.under(rule)
    return f"{percent(clean.value)} → {bound(entry)}{with_interval(worst)}"


def to_text(entries: Iterable[Entry]) -> str:
    """The boards for a terminal of about 120 columns."""
    return "\n\n".join(_text_board(board) for board in boards(entries)) + "\n"


def _text_board(board: Board) -> str:
    entries = board.entries
    columns = [column for column in columns_of(entries) if column.short]
    letters = footnotes.marks(entries)

    def row(line: Line, label: str, place: str = "", alone: str = "") -> list[str]:
        mark = f"{alone}{footnotes.name_marks(line.entry)}"
        flags = "".join(footnotes.flag_marks(line.entry, entries, letters))
        name = f"{shortened(label, NAME_WIDTH - len(mark))}{mark}"
        return [place, name, *(column.cell(line) for column in columns), flags]

    rows = []
    for group in board.groups:
        name = group.classifier.name
        nothing = [NOT_MEASURED if column is WORST else "" for column in columns]
        short = f"{shortened(name, NAME_WIDTH - len(ALONE))}{ALONE}"
        header = group.header
        rows.append(row(header, name, alone=ALONE) if header else ["", short, *nothing, ""])
        rows += [row(line, line.entry.defense.label, place_of(line)) for line in group.lines]
    headers = ["#", "defense", *(column.short for column in columns), "flags"]
    aligned = ("right", "left", *["right"] * len(columns), "left")
    table = tabulate([headers, *rows], tablefmt="plain", colalign=aligned, disable_numparse=True)
    lines = [
        *_whole_names(board),
        *spread_lines(board),
        *_class_lines(entries),
        *footnotes.footnotes(entries, letters),
        *footnotes.gap_lines(entries),
        *undefended_lines(board),
        *fewer_lines(board),
        *other_lines(board),
    ]
    return "\n".join([plain(heading(board)), table, *(f"  {plain(note)}" for note in lines)])


def _class_lines(entries: Sequence[Entry]) -> list[str]:
    """One line for each entry: clean accuracy and worst case with their worst class."""
    return [
        f"worst class: {name}: clean {clean}, worst case {worst}"
        for name, clean, worst in class_rows(entries)
    ]


def _whole_names(board: Board) -> list[str]:
    """The names that a narrow table cuts off, by the row's place."""
    lines = []
    for group in board.groups:
        if len(plain(group.classifier.name)) > NAME_WIDTH - len(ALONE):
            lines.append(f"{shortened(group.classifier.name, NAME_WIDTH)}: {group.classifier.name}")
        lines += [
            f"{place_of(line)}: {line.entry.name}"
            for line in group.lines
            if len(plain(line.entry.defense.label)) > NAME_WIDTH
        ]
    return lines


def place_of(line: Line) -> str:
    """A line's rank in its group."""
    return "–" if line.place is None else str(line.place)


def remarks(entry: Entry) -> str:
    """What stands behind a name, in brackets: that a row is preliminary, no add-on, or refuted."""
    words = {
        "preliminary": entry.preliminary,
        "not add-on": not entry.defense.add_on,
        "not ranked": bool(why_unranked(entry)),
    }
    said = ", ".join(word for word, holds in words.items() if holds)
    return f" ({said})" if said else ""


def heading(board: Board) -> str:
    """What a board compares: images, threat and protocol."""
    dataset, threat, protocol = board.first.dataset, board.first.threat, board.first.protocol
    preliminary = " (preliminary)" if all(entry.preliminary for entry in board.entries) else ""
    order = "" if dataset.order == "nested" else ", RobustBench's first n"
    if dataset.only_classes:
        order += f", classes {', '.join(map(str, dataset.only_classes))} alone"
    order += f", {dataset.preparation}" if dataset.preparation else ""
    order += f", images {board.images}" if board.images else ""
    return (
        f"{dataset.name} {dataset.split}{order}, {threat.text}: protocol {protocol.name}, version "
        f"{protocol.version}{preliminary}"
    )


def undefended_lines(board: Board) -> list[str]:
    """One line for the classifiers of a board that no entry measured undefended."""
    names = [group.classifier.name for group in board.groups if group.header is None]
    if not names:
        return []
    return [
        f"undefended: {NOT_MEASURED}: {', '.join(names)} (bench run --defense none measures it)"
    ]


def fewer_lines(board: Board) -> list[str]:
    """One line for the rows that have no rank because others of their group are on more images."""
    found = []
    for group in board.groups:
        most = max((line.entry.dataset.n for line in group.lines if line.place), default=0)
        found += [
            f"{line.entry.name} ({line.entry.dataset.n}, not {most})"
            for line in group.lines
            if line.place is None and line.entry.dataset.n < most
        ]
    return [f"without a rank, on fewer images: {', '.join(found)}"] if found else []


def other_lines(board: Board) -> list[str]:
    """One line for the entries that are not shown, since another one stands for their row."""
    said = [
        f"{entry.name}, n = {entry.dataset.n}{f' ({words})' if words else ''}"
        for entry in board.others
        for words in [", ".join(unlike_protocol(entry))]
    ]
    return [f"also measured, and not shown: {'; '.join(said)}"] if said else []
