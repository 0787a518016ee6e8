"""Series: one image of each original under one rule, as a run keeps them and an audit asks about them; pure."""

from __future__ import annotations

from collections.abc import Iterator
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
    return list(_of_rows(entry, is_clean=True))


def kept_series(entry: Entry, which: Kept) -> list[RuleSeries]:
    """The images that a run keeps: those that count before any challenge, or those of every attack.

    Not those of a known draw: the victim is asked about kept images at unknown ones.
    """
    if which == "all":
        return list(_of_rows(entry, is_clean=False))
    chosen = choose_all(Rows(entry).counting(), len(entry.per_image.indices))
    return [RuleSeries(rule, chosen[rule].rows, chosen[rule].outcomes) for rule in _rules(entry)]


def _rules(entry: Entry) -> list[Rule]:
    """The rules that a victim's draws tell apart."""
    return list(Rule) if entry.defense.stochastic else [Rule.SINGLE]


def _of_rows(entry: Entry, *, is_clean: bool) -> Iterator[RuleSeries]:
    for row in entry.attacks:
        if row.scores and (row.column is Column.CLEAN) == is_clean and not row.knows_draw:
            for rule in _rules(entry):
                outcomes = tuple(row.scores.outcomes(rule, len(entry.per_image.indices)))
                yield RuleSeries(rule, tuple(row.id if each else "" for each in outcomes), outcomes)
