"""Spread over seeds: how far a ranked worst case moves where the same run is made at other seeds; no torch."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping

from benchmark.publishing.leaderboard.cells import percent
from benchmark.publishing.leaderboard.eligibility import why_unranked
from benchmark.publishing.leaderboard.ranking import Board
from benchmark.publishing.leaderboard.same_content import has_content_of
from benchmark.records.entry import Entry

WANTED = 3
"""Seeds, the ranked one's among them, from which on a spread is said."""
ASKED = "standard"
"""The protocol each of whose boards is to have a row with so many."""


def spreads(board: Board) -> dict[int, str]:
    """What is said of the ranked rows that stand there at `WANTED` seeds or more, by their entries' `id`.

    A seed decides every draw: where the attacks begin and, of a random victim, what it draws, also when it is
    scored. What images from outside took from an entry is left out.
    """
    return {id(row): _said(row, found) for row, found in _found(board) if len(found) >= WANTED}


def spread_lines(board: Board) -> list[str]:
    """One line for each of these rows."""
    known = spreads(board)
    return [f"spread: {row.name}: {known[id(row)]}" for row in board.entries if id(row) in known]


def wanted_lines(board: Board) -> list[str]:
    """On a board of `ASKED` with ranks, of which no row has a spread, the command that gives one."""
    ranked = list(_found(board))
    if not ranked or board.first.protocol.name != ASKED or spreads(board):
        return []
    row, found = max(ranked, key=lambda each: len(each[1]))  # of several the first
    commands = [_at(row, seed) for seed in _further(found)]
    return [f"spread: no row here stands at {WANTED} seeds; one would by {' and '.join(commands)}"]


def _found(board: Board) -> Iterator[tuple[Entry, Mapping[int, float]]]:
    """The ranked rows, each with its worst case by seed; entries without a valid one are left out."""
    others = [e for e in (*board.entries, *board.others) if not (e.gaps or why_unranked(e))]
    for line in board.lines:
        row = line.entry
        if line.place is not None and row.worst is not None:
            same = [e for e in others if has_content_of(e, row, at_any_seed=True)]
            by_seed = {e.seed: value for e in same if (value := _attacked(e)) is not None}
            yield row, by_seed | {row.seed: _attacked(row) or 0.0}


def _attacked(entry: Entry) -> float | None:
    """Its worst case by the attacks of its run alone."""
    rates = entry.challenges[0].worst_before if entry.challenges else entry.worst
    return rates.single.value if rates else None


def _said(row: Entry, found: Mapping[int, float]) -> str:
    low, high = percent(min(found.values())), percent(max(found.values()))
    which = "seeds of its attacks and its draws" if row.defense.stochastic else "attack seeds"
    own = " by its run's own attacks" if row.challenges else ""
    return f"worst case{own} {percent(found[row.seed])} ({low} to {high} over {len(found)} {which})"


def _further(found: Mapping[int, float]) -> list[int]:
    """The seeds to be run, the least first."""
    free = [seed for seed in range(2 * WANTED) if seed not in found]
    return free[: WANTED - len(found)]


def _at(entry: Entry, seed: int) -> str:
    """An entry's command at another seed; in words where it is not a plain one."""
    try:
        words = shlex.split(entry.command)
    except ValueError:
        words = []
    if words[:2] != ["bench", "run"] or shlex.join(words) != entry.command:
        return f"the command of {entry.name} with --seed {seed}"
    if "--seed" in words[:-1]:
        at = words.index("--seed")
        del words[at : at + 2]
    return shlex.join([*words, "--seed", str(seed)])
