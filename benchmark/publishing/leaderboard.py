"""The leaderboard: entries ranked within one protocol, and rendered as Markdown or text; pure, no torch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

from tabulate import tabulate

from benchmark.publishing.entry import Entry, Family, Rate
from benchmark.publishing.flags import EXPLANATIONS
from benchmark.publishing.names import markdown, plain, shortened

NAME_WIDTH = 18
"""Characters of a name in the terminal's table."""
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
    "worst case",
    "passes f/b",
    "s/img",
    "n",
    "flags",
)
NATIVE = (
    "† AutoAttack on a stochastic victim: its images drawn again (its own verdict, by the last draw alone, in "
    "brackets); it does not enter the worst case"
)
BOUND = "≤: attacks are missing (gaps), so that the truth is at most this; such a row has no rank"


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
    marks = _marks(board)
    rows = []
    for place, entry in _numbered(board):
        raised = " ".join(marks[name] for name in _raised(entry)) or "–"
        defense = f"{markdown(entry.defense.label)}{_remarks(entry)}"
        names = [place, defense, markdown(entry.classifier.name)]
        rows.append([*names, *_numbers(entry), str(entry.dataset.n), raised])
    parts = [f"## {markdown(_heading(board))}", _about(board[0]), _pipe(rows, HEADERS)]
    if any(entry.defense.stochastic for entry in board):
        parts += ["Stochastic victims under each rule, clean → worst case:", _rules_table(board)]
    notes = [*_footnotes(board, marks), *_gap_lines(board)]
    if notes:
        parts.append("\n".join(f"- {markdown(note)}" for note in notes))
    return "\n\n".join(parts)


def _rules_table(board: Sequence[Entry]) -> str:
    rows = []
    for entry in board:
        if entry.defense.stochastic:
            asked = entry.criterion
            name = f"{markdown(entry.defense.label)} / {markdown(entry.classifier.name)}"
            cells = [_twin(entry, rule) for rule in ("single", "vote", "any_of")]
            rows.append([name, *cells, f"{asked.draws}, {asked.vote}, {asked.any_of}"])
    headers = ("defense / classifier", "single draw", "vote of k", "any of n", "draws, k, n")
    return _pipe(rows, headers)


def _twin(entry: Entry, rule: str) -> str:
    if entry.clean is None or entry.worst is None:
        return "gap"
    clean, worst = getattr(entry.clean, rule), getattr(entry.worst, rule)
    return f"{_percent(clean)} → {_bound(entry)}{_with_interval(worst)}"


def to_text(entries: Iterable[Entry]) -> str:
    """The boards for a terminal of about 120 columns."""
    return "\n\n".join(_text_board(board) for board in boards(entries)) + "\n"


def _text_board(board: Sequence[Entry]) -> str:
    marks = _marks(board)
    rows = [
        [
            place,
            shortened(entry.defense.label, NAME_WIDTH),
            shortened(entry.classifier.name, NAME_WIDTH),
            *_numbers(entry, is_short=True),
            str(entry.dataset.n),
            "".join(marks[name] for name in _raised(entry)),
        ]
        for place, entry in _numbered(board)
    ]
    aligned = ("right", "left", "left", *["right"] * (len(SHORT_HEADERS) - 4), "left")
    table = tabulate(
        [SHORT_HEADERS, *rows], tablefmt="plain", colalign=aligned, disable_numparse=True
    )
    notes = [f"  {plain(note)}" for note in (*_footnotes(board, marks), *_gap_lines(board))]
    return "\n".join([plain(_heading(board)), table, *notes])


def _numbers(entry: Entry, *, is_short: bool = False) -> list[str]:
    """The cells from `clean` to `seconds per image`."""
    columns, cost = entry.columns, entry.cost
    passes = [_amount(cost.forwards_per_image), _amount(cost.backwards_per_image)]
    worst = f"{_bound(entry)}{_with_interval(entry.worst.single)}" if entry.worst else "gap"
    return [
        _percent(entry.clean.single) if entry.clean else "gap",
        _family(columns.oblivious),
        _family(columns.autoattack) + _native(entry),
        _family(columns.adaptive),
        _family(columns.auxiliary),
        _family(columns.transfer),
        worst,
        "/".join(passes) if is_short else " / ".join(passes),
        _amount(cost.seconds_per_image),
    ]


def _family(family: Family | None) -> str:
    if family is None:
        return "–"
    return _percent(family.rates.single) if family.rates else "gap"


def _native(entry: Entry) -> str:
    """Where AutoAttack does not enter the worst case: its own verdict, the last of its trace, and a mark."""
    family = entry.columns.autoattack
    rows = [row for row in entry.attacks if family and row.id in family.rows]
    if any(row.counts for row in rows) or not (family and family.rates):
        return ""
    own = [f"{100 * row.trace[-1]:.1f}" for row in rows if row.trace]
    return f" ({', '.join(own)})†" if own else "†"


def _bound(entry: Entry) -> str:
    return "≤ " if entry.status == "gaps" else ""


def _percent(rate: Rate) -> str:
    return f"{100 * rate.value:.1f}"


def _with_interval(rate: Rate) -> str:
    return f"{_percent(rate)} ({100 * rate.low:.1f}–{100 * rate.high:.1f})"


def _amount(value: float) -> str:
    """About two digits: 12.3k, 410, 7.5, 0.012."""
    if value >= 1e6:
        return f"{value / 1e6:.1f}M"
    if value >= 1e4:
        return f"{value / 1e3:.1f}k"
    return f"{value:.0f}" if value >= 10 else f"{value:.2g}"


def _numbered(board: Sequence[Entry]) -> list[tuple[str, Entry]]:
    return [
        ("–" if entry.status == "gaps" else str(i), entry) for i, entry in enumerate(board, start=1)
    ]


def _remarks(entry: Entry) -> str:
    words = {"preliminary": entry.preliminary, "not add-on": not entry.defense.add_on}
    said = ", ".join(word for word, holds in words.items() if holds)
    return f" ({said})" if said else ""


def _heading(board: Sequence[Entry]) -> str:
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


def _raised(entry: Entry) -> list[str]:
    return [flag.id for flag in entry.flags if flag.verdict == "raised"]


def _marks(board: Sequence[Entry]) -> dict[str, str]:
    """A letter for each flag that is raised on a board."""
    raised = {name for entry in board for name in _raised(entry)}
    ordered = [name for name in EXPLANATIONS if name in raised] + sorted(raised - set(EXPLANATIONS))
    return {name: chr(ord("a") + i) if i < 26 else f"z{i}" for i, name in enumerate(ordered)}


def _footnotes(board: Sequence[Entry], marks: dict[str, str]) -> list[str]:
    notes = [
        f"{mark}: {name}{': ' if name in EXPLANATIONS else ''}{EXPLANATIONS.get(name, '')}"
        for name, mark in marks.items()
    ]
    if any(_native(entry) for entry in board):
        notes.append(NATIVE)
    if any(entry.status == "gaps" for entry in board):
        notes.append(BOUND)
    return notes


def _gap_lines(board: Sequence[Entry]) -> list[str]:
    return [
        f"gap: {entry.defense.label} on {entry.classifier.name}: {gap.row}"
        f"{f' ({gap.column})' if gap.column else ''}: {gap.reason}"
        for entry in board
        for gap in entry.gaps
    ]


def _pipe(rows: Sequence[Sequence[str]], headers: Sequence[str]) -> str:
    return tabulate(rows, headers, tablefmt="pipe", disable_numparse=True)
