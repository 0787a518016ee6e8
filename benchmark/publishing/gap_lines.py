"""Lines below a board: gaps, and the rows that few classes leave out or change; pure, no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from benchmark.publishing.entry import Entry, Gap


def gap_lines(board: Sequence[Entry]) -> list[str]:
    """One line for each gap on a board, and for each row that its task's few classes leave out or change."""
    lines = [
        f"gap: {_name(entry)}: {_titled(gap)}: {gap.reason}"
        for entry in board
        for gap in entry.gaps
    ]
    return lines + [line for told in (_excused, _stand_ins) for line in _by_row(board, told)]


def _by_row(
    board: Sequence[Entry], told: Callable[[Entry], Iterable[tuple[str, str]]]
) -> list[str]:
    """What is told of rows of the protocol, each row once: of whom, and in which words."""
    names: dict[str, list[str]] = {}
    words: dict[str, dict[str, None]] = {}
    for entry in board:
        for row, reason in told(entry):
            names.setdefault(row, []).append(_name(entry))
            words.setdefault(row, {})[reason] = None
    return [
        f"{row} ({'every row' if len(whose) == len(board) else ', '.join(whose)}): "
        f"{'; '.join(words[row])}"
        for row, whose in names.items()
    ]


def _excused(entry: Entry) -> list[tuple[str, str]]:
    return [(f"not applicable: {_titled(gap)}", gap.reason) for gap in entry.not_applicable]


def _stand_ins(entry: Entry) -> list[tuple[str, str]]:
    return [
        (
            f"stands in: {one.row}",
            f"with {', '.join(f'{key}={value}' for key, value in one.arguments.items())}, because the task has "
            f"fewer than {one.below} classes",
        )
        for one in entry.stand_ins
    ]


def _name(entry: Entry) -> str:
    return f"{entry.defense.label} on {entry.classifier.name}"


def _titled(gap: Gap) -> str:
    return f"{gap.row}{f' ({gap.column})' if gap.column else ''}"
