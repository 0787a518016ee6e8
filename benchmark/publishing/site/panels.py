"""Panels: which charts an entry's page and a board show, made from entries."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmark.publishing.leaderboard import charts
from benchmark.publishing.leaderboard.charts import (
    NAME_LENGTH,
    Axis,
    Chart,
    Series,
    convergence,
    lines,
    scatter,
)
from benchmark.publishing.leaderboard.escaping import shortened
from benchmark.publishing.leaderboard.ranking import Board, Line
from benchmark.publishing.site.urls import Shelf
from benchmark.records.entry import Entry, is_undefended
from benchmark.records.entry_parts import AttackRecord

ACCURACY = Axis("robust accuracy (%)", 0, 100)
CONVERGENCE = (
    "How far each attack had come after each step: the share of images that it had not yet turned at any step "
    "so far, by its own count; steps of restarts follow one another. A thin line lies far below the verdict on "
    "the attack’s images: it counts by something else than the whole defense, such as the bare classifier or "
    "its own draws."
)
BUDGET = (
    "Accuracy under one attack, varied over its budget, on the first images; nothing in it is ranked. What is "
    "attacked in earnest falls to 0 as the budget grows."
)


@dataclass(frozen=True, slots=True)
class Panel:
    """A section of an entry's page: its heading, how to read it, what it draws."""

    heading: str
    about: str
    charts: tuple[Chart, ...]


def tradeoff(shelf: Shelf, board: Board, number: int) -> Chart | None:
    """Clean against robust accuracy of a board; None where no entry of it has both.

    Args:
        shelf: The board's page.
        board: What is drawn.
        number: Of the board on its page.
    """
    has_several = len(board.groups) > 1
    drawn = (
        charts.tradeoff(
            line.entry, _name(line, has_several=has_several), shelf.placed(line.entry).page
        )
        for line in board.lines
    )
    points = [point for point in drawn if point]
    if not points:
        return None
    least = min(90.0, *(p.x for p in points))
    x_axis = Axis("clean accuracy (%)", max(0.0, 10 * math.floor(least / 10)), 100)
    title = "Clean against robust accuracy with its 95 % interval; dashed: no attack did harm"
    return scatter(f"tradeoff-{number}", title, points, x_axis, ACCURACY)


def _name(line: Line, *, has_several: bool) -> str:
    """A line of a board; its classifier where the board has several."""
    entry = line.entry
    if is_undefended(entry):
        return f"{entry.classifier.name}, undefended"
    place = "–" if line.place is None else str(line.place)
    of = f", {entry.classifier.name}" if has_several else ""
    return f"{place} {entry.defense.label}{of}"


def panels(entry: Entry) -> list[Panel]:
    """What an entry's page draws, in the order in which it stands there; others are added here."""
    found = [
        Panel("Convergence", CONVERGENCE, tuple(_convergence(entry))),
        Panel("Budget", BUDGET, tuple(_eps_curve(entry))),
    ]
    return [panel for panel in found if panel.charts]


def _convergence(entry: Entry) -> Iterator[Chart]:
    """One chart for each column whose attacks kept more than one step; sources have their own."""
    for column in dict.fromkeys(row.column for row in entry.attacks if row.column):
        rows = [row for row in entry.attacks if row.column is column]
        title = f"Convergence: {column.said} attacks"
        yield from _traces(f"convergence-{column}", title, rows)
    yield from _traces(
        "convergence-sources", "Convergence: images made for transfer", entry.sources
    )


def _traces(key: str, title: str, rows: Sequence[AttackRecord]) -> Iterator[Chart]:
    series = [convergence(row) for row in rows if len(row.trace) > 1]
    if series:
        longest = max(len(s.points) for s in series)
        x_axis = Axis("step", 1, longest)
        yield lines(key, title, series, x_axis, Axis("still classified rightly (%)", 0, 100))


def _eps_curve(entry: Entry) -> Iterator[Chart]:
    points = [(point.eps, round(100 * point.rate, 3)) for point in entry.eps_curve]
    if len(points) > 1:
        x_axis = Axis(
            f"budget ({entry.threat.norm}, pixels in [0, 1])", points[0][0], points[-1][0]
        )
        of = shortened(next((row.of for row in entry.diagnosis), "attack"), NAME_LENGTH)
        yield lines("eps-curve", "Accuracy by budget", [Series(of, points)], x_axis, ACCURACY)
