"""Series: one image of each original under one rule, as a run keeps them and an audit asks about them; pure."""

from __future__ import annotations

from dataclasses import dataclass

from benchmark.engine.criterion import Outcome, Rule
from benchmark.records.audit import Kept
from benchmark.records.entry import Entry
from benchmark.records.protocol import Column
from benchmark.scoring.choice import choose_all
from benchmark.scoring.derived_rows import Rows


@dataclass(frozen=True, slots=True)
class RuleSeries:
    """One image of each original of an entry under one rule.

    Args:
        rule: The rule under which it was chosen.
        rows: The attack that each is of; empty where there is none.
        outcomes: What the entry says of each; None where there is none.
    """

    rule: Rule
    rows: tuple[str, ...]
    outcomes: tuple[Outcome | None, ...]


def clean_series(entry: Entry) -> list[RuleSeries]:
    """The clean images."""
    return [series for series in _of_rows(entry) if set(series.rows) <= _clean_rows(entry)]


def kept_series(entry: Entry, which: Kept) -> list[RuleSeries]:
    """The images that a run keeps: those that count before any challenge, or those of every attack."""
    if which == "all":
        return [series for series in _of_rows(entry) if not set(series.rows) <= _clean_rows(entry)]
    chosen = choose_all(Rows(entry).counting(), len(entry.per_image.indices))
    return [RuleSeries(rule, chosen[rule].rows, chosen[rule].outcomes) for rule in _rules(entry)]


def _rules(entry: Entry) -> list[Rule]:
    """The rules that a victim's draws tell apart."""
    return list(Rule) if entry.defense.stochastic else [Rule.SINGLE]


def _clean_rows(entry: Entry) -> set[str]:
    return {"", *(row.id for row in entry.attacks if row.column is Column.CLEAN)}


def _of_rows(entry: Entry) -> list[RuleSeries]:
    n, found = len(entry.per_image.indices), []
    for row in entry.attacks:
        for rule in _rules(entry) if row.scores else ():
            outcomes = tuple(row.scores.outcomes(rule, n)) if row.scores else ()
            names = tuple(row.id if outcome else "" for outcome in outcomes)
            found.append(RuleSeries(rule, names, outcomes))
    return found
