"""Cells of a leaderboard: an entry's numbers as text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tabulate import tabulate

from benchmark.publishing.leaderboard.escaping import markdown
from benchmark.publishing.leaderboard.ranking import Gain, Line
from benchmark.records.entry import Entry, Rate, is_undefended
from benchmark.records.protocol import Column
from benchmark.records.rates import ClassRate

NOT_APPLICABLE = "n/a"
"""Stands where no row of a column exists for such a task."""
CHALLENGED = "§"
"""Marks a worst case that images from outside lowered."""
_NUMBER = re.compile(r"(?:≤ )?([+-]?\d+(?:\.\d+)?(?:e[+-]?\d+)?)([kM]?)")
_SCALES = {"": 1.0, "k": 1e3, "M": 1e6}


def family_cell(entry: Entry, column: Column) -> str:
    """Accuracy under an attack family."""
    family = entry.family(column)
    if family is None:
        return "–" if entry.is_applicable(column) else NOT_APPLICABLE
    return percent(family.rates.single.value if family.rates else None)


def worst_cell(entry: Entry) -> str:
    """The worst case with its interval and marks."""
    worst = f"{bound(entry)}{with_interval(entry.worst.single)}" if entry.worst else "gap"
    return worst + (CHALLENGED if entry.challenges else "")


def gain_cell(line: Line) -> str:
    """The difference to the undefended classifier, in points; on how many images, where not on all n."""
    gain, n = line.gain, line.entry.dataset.n
    if gain is None:
        return "" if is_undefended(line.entry) else "–"
    return with_ends(gain)[:-1] + ("" if gain.n == n else f", n = {gain.n}") + ")"


def with_ends(gain: Gain) -> str:
    """A difference in points with its interval."""
    return f"{points(gain.value, '+')} ({points(gain.low)} to {points(gain.high)})"


def points(share: float, sign: Literal["+", ""] = "") -> str:
    """A difference in points, where asked with the sign of what is above zero; never `-0.0`."""
    value = round(100 * share, 1) + 0.0
    return f"{sign if value > 0 else ''}{value:.1f}"


def native(entry: Entry) -> str:
    """Where AutoAttack does not enter the worst case: its own verdict, the last of its trace, and a mark."""
    family = entry.family(Column.AUTOATTACK)
    rows = [row for row in entry.attacks if family and row.id in family.rows]
    if any(row.counts for row in rows) or not (family and family.rates):
        return ""
    own = [f"{100 * row.trace[-1]:.1f}" for row in rows if row.trace]
    return f" ({', '.join(own)})†" if own else "†"


def bound(entry: Entry) -> str:
    """What stands before a number that attacks are missing from."""
    return "≤ " if entry.status == "gaps" else ""


def percent(share: float | None, missing: str = "gap") -> str:
    """A share in %."""
    return missing if share is None else f"{100 * share:.1f}"


def class_cells(entry: Entry) -> list[str]:
    """Clean accuracy and worst case, each with its worst class; nothing in entries that do not say it."""
    found = entry.worst_class
    if found is None or entry.clean is None or entry.worst is None:
        return []
    sign = bound(entry)
    return [
        _beside("", entry.clean.single, found.clean),
        _beside(sign, entry.worst.single, found.worst),
    ]


def _beside(sign: str, mean: Rate, one: ClassRate) -> str:
    least = f"{sign}{percent(one.rate.value)} (class {one.label}, n = {one.n})"
    return f"{sign}{percent(mean.value)} → {least}"


def interval(rate: Rate | Gain) -> str:
    """The ends of an interval in %."""
    return f"{percent(rate.low)}–{percent(rate.high)}"


def with_interval(rate: Rate) -> str:
    """A rate with its interval."""
    return f"{percent(rate.value)} ({interval(rate)})"


def amount(value: float) -> str:
    """About two digits: 12.3k, 410, 7.5, 0.012."""
    if value >= 1e6:
        return f"{value / 1e6:.1f}M"
    if value >= 1e4:
        return f"{value / 1e3:.1f}k"
    return f"{value:.0f}" if value >= 10 else f"{value:.2g}"


def pipe(rows: Sequence[Sequence[str]], headers: Sequence[str]) -> str:
    """A table in Markdown, of which each cell reads as itself."""
    escaped = [list(map(markdown, row)) for row in rows]
    return tabulate(escaped, headers, tablefmt="pipe", disable_numparse=True)


@dataclass(frozen=True, slots=True)
class Cell:
    """A number's text, split: what stands large, what smaller behind it, and what it is sorted by."""

    main: str
    rest: str
    key: float | None

    @classmethod
    def of(cls, text: str) -> Cell:
        """Of a number's text."""
        main, bracket, rest = text.partition(" (")
        found = _NUMBER.match(text)
        key = float(found[1]) * _SCALES[found[2]] if found else None
        return cls(main, f"{bracket.strip()}{rest}", key)
