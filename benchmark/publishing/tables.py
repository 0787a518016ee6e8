"""Tables for papers: ranked entries as Markdown, LaTeX or CSV; pure, no torch."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum

from tabulate import tabulate

from benchmark.protocol import Column
from benchmark.publishing.cells import NOT_APPLICABLE
from benchmark.publishing.entry import Entry, Family, Rate
from benchmark.publishing.leaderboard import boards
from benchmark.publishing.names import markdown, plain

Cell = str | float | int | None


class Form(StrEnum):
    """How a table is written."""

    MARKDOWN = "markdown"
    LATEX = "latex"
    """For the package booktabs."""
    CSV = "csv"
    """Numbers as they are, shares in [0, 1], with a column for each end of an interval."""


def _family(name: str) -> Callable[[Entry], Rate | None]:
    def found(entry: Entry) -> Rate | None:
        family: Family | None = getattr(entry.columns, name)
        return family.rates.single if family and family.rates else None

    return found


WORDS: Mapping[str, Callable[[Entry], Cell]] = {
    "dataset": lambda entry: entry.dataset.name,
    "threat": lambda entry: entry.threat.text,
    "protocol": lambda entry: entry.protocol.name,
    "defense": lambda entry: entry.defense.label,
    "classifier": lambda entry: entry.classifier.name,
    "n": lambda entry: entry.dataset.n,
    "seconds": lambda entry: entry.cost.seconds_per_image,
    "forwards": lambda entry: entry.cost.forwards_per_image,
    "backwards": lambda entry: entry.cost.backwards_per_image,
    "flags": lambda entry: " ".join(f.id for f in entry.flags if f.verdict == "raised"),
}
"""Columns that are no rate."""
RATES: Mapping[str, Callable[[Entry], Rate | None]] = {
    "clean": lambda entry: entry.clean.single if entry.clean else None,
    "oblivious": _family("oblivious"),
    "autoattack": _family("autoattack"),
    "adaptive": _family("adaptive"),
    "auxiliary": _family("auxiliary"),
    "transfer": _family("transfer"),
    "worst": lambda entry: entry.worst.single if entry.worst else None,
}
"""Columns that are accuracies, of single draws."""
COLUMNS = (*WORDS, *RATES)
INTERVALS = ("worst",)
"""Rates that stand with their interval in Markdown and LaTeX."""


def usual(entries: Sequence[Entry]) -> list[str]:
    """The columns where none is named: names and accuracies, and in front what tells boards apart."""
    apart = [name for name in _APART if len({WORDS[name](entry) for entry in entries}) > 1]
    return [*apart, "defense", "classifier", *RATES]


def to_table(entries: Sequence[Entry], columns: Sequence[str], form: Form) -> str:
    """Entries in the order of the leaderboard, board by board.

    Args:
        entries: In any order.
        columns: Names out of `COLUMNS`.
        form: How it is written. In Markdown and LaTeX accuracies are in %, the worst case with its 95 %
            interval, and a worst case that attacks are missing from is marked as a bound.
    """
    ranked = [entry for board in boards(entries) for entry in board]
    if form is Form.CSV:
        return _csv(ranked, columns)
    rows = [[_text(entry, name, form) for name in columns] for entry in ranked]
    style = {Form.MARKDOWN: "pipe", Form.LATEX: "latex_booktabs"}[form]
    aligned = ["right" if name in RATES or name in _NUMBERS else "left" for name in columns]
    return (
        tabulate(rows, list(columns), tablefmt=style, disable_numparse=True, colalign=aligned)
        + "\n"
    )


_FAMILIES = frozenset(Column)
_APART = ("dataset", "threat", "protocol")
_NUMBERS = frozenset({"n", "seconds", "forwards", "backwards"})
_MISSING = {Form.MARKDOWN: "–", Form.LATEX: "--"}
_UPTO = {Form.MARKDOWN: "≤ ", Form.LATEX: "<= "}


def _text(entry: Entry, name: str, form: Form) -> str:
    if name in RATES:
        rate = RATES[name](entry)
        if rate is None:
            does_not_apply = name in _FAMILIES and not entry.is_applicable(Column(name))
            return NOT_APPLICABLE if does_not_apply else _MISSING[form]
        if name not in INTERVALS:
            return f"{100 * rate.value:.1f}"
        bound = _UPTO[form] if entry.status == "gaps" else ""
        dash = _MISSING[form]
        return f"{bound}{100 * rate.value:.1f} ({100 * rate.low:.1f}{dash}{100 * rate.high:.1f})"
    value = WORDS[name](entry)
    said = f"{value:.3g}" if isinstance(value, float) else plain(str(value))
    return markdown(said) if form is Form.MARKDOWN else said


def _csv(entries: Sequence[Entry], columns: Sequence[str]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([head for name in columns for head in _heads(name)])
    for entry in entries:
        writer.writerow([cell for name in columns for cell in _cells(entry, name)])
    return out.getvalue()


def _heads(name: str) -> list[str]:
    return [name, f"{name}_low", f"{name}_high"] if name in RATES else [name]


def _cells(entry: Entry, name: str) -> list[Cell]:
    if name not in RATES:
        value = WORDS[name](entry)
        return [_harmless(value) if isinstance(value, str) else value]
    rate = RATES[name](entry)
    return [None] * 3 if rate is None else [rate.value, rate.low, rate.high]


def _harmless(text: str) -> str:
    """Text that a spreadsheet does not take for a formula."""
    line = plain(text)
    return f"'{line}" if line.startswith(("=", "+", "-", "@")) else line
