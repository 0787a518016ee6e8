"""The plot of a board: clean against robust accuracy of its entries, with the intervals of both."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmark.errors import BenchError
from benchmark.publishing.leaderboard.escaping import shortened
from benchmark.publishing.leaderboard.plots import SIZE, TITLE, colours, draw, name_beside, spread
from benchmark.publishing.leaderboard.ranking import boards
from benchmark.records.entry import Entry, Rate, is_undefended

LINE = 4.6
"""Between two names, in % of robust accuracy, where the figure has its usual height."""
ROOM = 21
"""Names for which that height is enough; it grows with more."""
MARKS = {
    "o": "purifier",
    "D": "undefended classifier",
    "v": "attacks are missing: at most this",
}
"""Shapes of points, in the order of their legend."""


class Point(NamedTuple):
    """An entry of the plot, with what is said beside it, its colour, and where its name leads."""

    entry: Entry
    name: str
    colour: Any
    link: str = ""


def plot_tradeoff(entries: Sequence[Entry], path: Path) -> None:
    """Draws clean accuracy against the worst case, one point an entry, with 95 % intervals of both.

    On the dashed line no attack did any harm. Both accuracies are of single draws. Entries without a worst case
    have no point.

    Args:
        entries: Of one board: one dataset, threat and protocol.
        path: Ends in `.svg`, `.pdf` or `.png`.

    Raises:
        BenchError: They are of several boards, none has a worst case, the path has another ending, or it cannot
            be written.
    """
    grouped = boards(entries)
    if len(grouped) > 1:
        named = "; ".join(
            f"{_board(board.first)} ({len(board.entries) + len(board.others)})" for board in grouped
        )
        raise BenchError(
            f"expected entries of one board, which may be compared; got {len(grouped)}: {named}. Name one "
            f"folder <dataset>/<threat>, and one --protocol"
        )
    shown = [entry for board in grouped for entry in board.entries if entry.clean and entry.worst]
    if not shown:
        raise BenchError("no entry has a clean accuracy and a worst case; there is nothing to plot")
    width, height = SIZE
    draw(path, lambda figure: _tradeoff(figure, shown), (width, height * max(1, len(shown) / ROOM)))


def _tradeoff(figure: Figure, entries: Sequence[Entry]) -> None:
    """Entries in rank order, so that names stand from the most robust down."""
    axes = figure.add_subplot()
    points = list(map(Point, entries, _names(entries), colours(len(entries))))
    scatter(axes, points, LINE * min(1.0, ROOM / len(points)))
    axes.set_title(shortened(_board(entries[0], n=_n(entries)), TITLE), loc="left", fontsize=10)
    _legend(figure, axes, entries)


def scatter(axes: Axes, points: Sequence[Point], gap: float) -> None:
    """Draws those that have both accuracies, each with its name at the right, and where the two are equal.

    Args:
        axes: Empty.
        points: At least one has both.
        gap: Between two names, in % of robust accuracy.
    """
    drawn = [
        (point, point.entry.clean.single, point.entry.worst.single)
        for point in points
        if point.entry.clean and point.entry.worst
    ]
    drawn.sort(key=lambda row: -row[2].value)
    places = spread([100 - 100 * robust.value for *_, robust in drawn], 0, 100, gap)
    left = max(0.0, 10 * ((min(100 * clean.low for _, clean, _ in drawn) - 2) // 10))
    for (point, clean, robust), place in zip(drawn, places, strict=True):
        _dot(axes, clean, robust, _mark(point.entry), point.colour)
        at = 100 * clean.value, 100 * robust.value
        name_beside(axes, at, point.name, place, point.colour, point.link)
    axes.plot([left, 100], [left, 100], color="0.45", linestyle="--", linewidth=0.8)
    axes.set_xlim(left, 100.5)
    axes.set_ylim(-2, 102)
    axes.set_xlabel("clean accuracy (%)")
    axes.set_ylabel("robust accuracy: worst case (%)")


def _dot(axes: Axes, x: Rate, y: Rate, mark: str, colour: object) -> None:
    """A dot with the intervals of both accuracies."""
    axes.errorbar(
        100 * x.value,
        100 * y.value,
        xerr=_reach(x),
        yerr=_reach(y),
        color=colour,
        marker=mark,
        markersize=5.5,
        markerfacecolor="white" if mark == "D" else colour,
        elinewidth=0.8,
        alpha=0.9,
        clip_on=False,
        zorder=3,
    )


def _reach(rate: Rate) -> list[list[float]]:
    """How far an interval reaches down and up, in %."""
    return [[100 * rate.value - 100 * rate.low], [100 * rate.high - 100 * rate.value]]


def _legend(figure: Figure, axes: Axes, entries: Sequence[Entry]) -> None:
    """What the shapes that are there stand for, below the axes."""
    found = [mark for mark in MARKS if mark in {_mark(entry) for entry in entries}]
    for mark in found:
        face = "white" if mark == "D" else "0.35"
        axes.plot(
            [], [], mark, color="0.35", markerfacecolor=face, markersize=5.5, label=MARKS[mark]
        )
    axes.plot([], [], color="0.45", linestyle="--", linewidth=0.8, label="no attack did harm")
    figure.legend(loc="outside lower center", ncols=4, frameon=False, fontsize=8)


def _mark(entry: Entry) -> str:
    if entry.status == "gaps":
        return "v"
    return "D" if is_undefended(entry) else "o"


def _names(entries: Sequence[Entry]) -> list[str]:
    """Labels, with what else tells two of them apart."""
    several = {
        "classifier": len({entry.classifier.name for entry in entries}) > 1,
        "n": _n(entries) == 0,
    }
    return [
        entry.defense.label
        + (f", {entry.classifier.name}" if several["classifier"] else "")
        + (f", n = {entry.dataset.n}" if several["n"] else "")
        for entry in entries
    ]


def _n(entries: Sequence[Entry]) -> int:
    """The number of images, where it is the same for all; else 0."""
    found = {entry.dataset.n for entry in entries}
    return found.pop() if len(found) == 1 else 0


def _board(entry: Entry, n: int = 0) -> str:
    """A board in words."""
    protocol, dataset = entry.protocol, entry.dataset
    words = [dataset.name, entry.threat.text, f"{protocol.name} (version {protocol.version})"]
    words += ["RobustBench's order"] if dataset.order != "nested" else []
    words += [f"classes {','.join(map(str, dataset.only_classes))}"] if dataset.only_classes else []
    words += [f"n = {n}"] if n else []
    return ", ".join(words)
