"""Cells of a leaderboard: an entry's numbers as text."""

from __future__ import annotations

from benchmark.protocol import Column
from benchmark.publishing.entry import Entry, Rate

NOT_APPLICABLE = "n/a"
"""Stands where no row of a column exists for such a task."""
CHALLENGED = "§"
"""Marks a worst case that images from outside lowered."""


def numbers(entry: Entry, *, is_short: bool = False, has_black_box: bool = False) -> list[str]:
    """The cells from `clean` to `seconds per image`, that of black-box attacks only where it is asked for."""
    cost = entry.cost
    passes = [_amount(cost.forwards_per_image), _amount(cost.backwards_per_image)]
    worst = f"{bound(entry)}{with_interval(entry.worst.single)}" if entry.worst else "gap"
    worst += CHALLENGED if entry.challenges else ""
    return [
        percent(entry.clean.single) if entry.clean else "gap",
        _family(entry, Column.OBLIVIOUS),
        _family(entry, Column.AUTOATTACK) + native(entry),
        _family(entry, Column.ADAPTIVE),
        _family(entry, Column.AUXILIARY),
        _family(entry, Column.TRANSFER),
        *([_family(entry, Column.BLACK_BOX)] if has_black_box else []),
        worst,
        "/".join(passes) if is_short else " / ".join(passes),
        _amount(cost.seconds_per_image),
    ]


def _family(entry: Entry, column: Column) -> str:
    family = entry.family(column)
    if family is None:
        return "–" if entry.is_applicable(column) else NOT_APPLICABLE
    return percent(family.rates.single) if family.rates else "gap"


def native(entry: Entry) -> str:
    """Where AutoAttack does not enter the worst case: its own verdict, the last of its trace, and a mark."""
    family = entry.columns.autoattack
    rows = [row for row in entry.attacks if family and row.id in family.rows]
    if any(row.counts for row in rows) or not (family and family.rates):
        return ""
    own = [f"{100 * row.trace[-1]:.1f}" for row in rows if row.trace]
    return f" ({', '.join(own)})†" if own else "†"


def bound(entry: Entry) -> str:
    """What stands before a number that attacks are missing from."""
    return "≤ " if entry.status == "gaps" else ""


def percent(rate: Rate) -> str:
    """A rate without its interval."""
    return f"{100 * rate.value:.1f}"


def with_interval(rate: Rate) -> str:
    """A rate with its interval."""
    return f"{percent(rate)} ({100 * rate.low:.1f}–{100 * rate.high:.1f})"


def _amount(value: float) -> str:
    """About two digits: 12.3k, 410, 7.5, 0.012."""
    if value >= 1e6:
        return f"{value / 1e6:.1f}M"
    if value >= 1e4:
        return f"{value / 1e3:.1f}k"
    return f"{value:.0f}" if value >= 10 else f"{value:.2g}"
