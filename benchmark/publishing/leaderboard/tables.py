"""Tables for papers: ranked entries as Markdown, LaTeX or CSV; pure, no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from itertools import chain

from tabulate import tabulate

from benchmark.publishing.leaderboard.cells import NOT_APPLICABLE, with_ends
from benchmark.publishing.leaderboard.columns import BOARD_COLUMNS, CLASS_COLUMNS, columns_of
from benchmark.publishing.leaderboard.data_file import csv_text
from benchmark.publishing.leaderboard.eligibility import why_unranked
from benchmark.publishing.leaderboard.escaping import markdown, plain
from benchmark.publishing.leaderboard.footnotes import raised
from benchmark.publishing.leaderboard.ranking import Line, boards
from benchmark.records.entry import Entry

Cell = str | float | int | None


class Form(StrEnum):
    """How a table is written."""

    MARKDOWN = "markdown"
    LATEX = "latex"
    """For the package booktabs."""
    CSV = "csv"
    """Numbers as they are, shares in [0, 1], with a column for each end of an interval."""


WORDS: Mapping[str, Callable[[Line], Cell]] = {
    "dataset": lambda line: line.entry.dataset.name,
    "threat": lambda line: line.entry.threat.text,
    "protocol": lambda line: line.entry.protocol.name,
    "rank": lambda line: line.place,
    "defense": lambda line: line.entry.defense.label,
    "classifier": lambda line: line.entry.classifier.name,
    "n": lambda line: line.entry.dataset.n,
    "seed": lambda line: line.entry.seed,
    "precision": lambda line: line.entry.precision,
    "seconds": lambda line: line.entry.cost.seconds_per_image,
    "forwards": lambda line: line.entry.cost.forwards_per_image,
    "backwards": lambda line: line.entry.cost.backwards_per_image,
    "flags": lambda line: " ".join(raised(line.entry)),
    "not-ranked": lambda line: "; ".join(why_unranked(line.entry)) or None,
}
"""Columns that are no share."""
SPANS = {column.name: column for column in (*BOARD_COLUMNS, *CLASS_COLUMNS) if column.span}
"""Columns of single draws that are accuracies, or the difference of two."""
COLUMNS = (*WORDS, *SPANS)
INTERVALS = ("worst", "gain")
"""Those that stand with their interval in Markdown and LaTeX."""


def usual(entries: Sequence[Entry]) -> list[str]:
    """The columns where none is named: names and accuracies, and in front what tells boards apart."""
    lines = [line for board in boards(entries) for line in board.lines]
    apart = [name for name in _APART if len({WORDS[name](line) for line in lines}) > 1]
    spans = [column.name for column in columns_of(entries) if column.span]
    refuted = ["not-ranked"] if any(why_unranked(line.entry) for line in lines) else []
    return [*apart, "rank", "defense", "classifier", *spans, *refuted]


def to_table(
    entries: Sequence[Entry],
    columns: Sequence[str],
    form: Form,
    *,
    is_shown: Callable[[Entry], bool] = lambda entry: True,  # noqa: ARG005
) -> str:
    """Entries in the order of the leaderboard, board by board and classifier by classifier.

    The undefended classifier leads its group and has no rank.

    Args:
        entries: In any order.
        columns: Names out of `COLUMNS`.
        form: How it is written. In Markdown and LaTeX accuracies are in %, the worst case and the difference
            to the undefended classifier with their 95 % intervals, and a worst case that attacks are missing
            from is marked as a bound.
        is_shown: Whether an entry's line is written; the others count for ranks and differences all the same.
    """
    lines = [line for board in boards(entries) for line in board.lines if is_shown(line.entry)]
    if form is Form.CSV:
        heads = [[name, *(f"{name}_{end}" for end in _ENDS if name in SPANS)] for name in columns]
        rows = [[cell for name in columns for cell in _cells(line, name)] for line in lines]
        return csv_text([chain(*heads), *rows])
    texts = [[_text(line, name, form) for name in columns] for line in lines]
    style = {Form.MARKDOWN: "pipe", Form.LATEX: "latex_booktabs"}[form]
    aligned = ["right" if name in SPANS or name in _NUMBERS else "left" for name in columns]
    return (
        tabulate(texts, list(columns), tablefmt=style, disable_numparse=True, colalign=aligned)
        + "\n"
    )


_ENDS = ("low", "high")
_APART = ("dataset", "threat", "protocol")
_NUMBERS = frozenset({"rank", "n", "seed", "seconds", "forwards", "backwards"})
_MISSING = {Form.MARKDOWN: "–", Form.LATEX: "--"}
_UPTO = {Form.MARKDOWN: "≤ ", Form.LATEX: "<= "}


def _text(line: Line, name: str, form: Form) -> str:
    if name in SPANS:
        return _share(line, name, form)
    value = WORDS[name](line)
    if value is None:
        return _MISSING[form]
    said = f"{value:.3g}" if isinstance(value, float) else plain(str(value))
    return markdown(said) if form is Form.MARKDOWN else said


def _share(line: Line, name: str, form: Form) -> str:
    family = SPANS[name].family
    share = SPANS[name].number(line)
    if share is None:
        does_not_apply = family is not None and not line.entry.is_applicable(family)
        return NOT_APPLICABLE if does_not_apply else _MISSING[form]
    if name == "gain" and line.gain is not None:
        return with_ends(line.gain)
    if name not in INTERVALS:
        return f"{100 * share.value:.1f}"
    bound = _UPTO[form] if line.entry.status == "gaps" else ""
    dash = _MISSING[form]
    return f"{bound}{100 * share.value:.1f} ({100 * share.low:.1f}{dash}{100 * share.high:.1f})"


def _cells(line: Line, name: str) -> list[Cell]:
    if name not in SPANS:
        value = WORDS[name](line)
        return [_harmless(value) if isinstance(value, str) else value]
    share = SPANS[name].number(line)
    return [None] * 3 if share is None else [share.value, share.low, share.high]


def _harmless(text: str) -> str:
    """Text that a spreadsheet does not take for a formula."""
    line = plain(text)
    return f"'{line}" if line.startswith(("=", "+", "-", "@")) else line
