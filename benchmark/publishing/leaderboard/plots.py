"""Plots of entries, the same to the byte each time; what imports this loads matplotlib."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter

from benchmark.errors import BenchError
from benchmark.files.atomic import write_whole
from benchmark.publishing.leaderboard.escaping import plain, shortened
from benchmark.records.entry import Entry
from benchmark.records.entry_parts import AttackRecord
from benchmark.records.protocol import Column

SIZE = (8.0, 4.5)
"""Of a figure, in inches."""
RESOLUTION = 150
"""Dots an inch, of a PNG."""
_NO_DATE: dict[str, dict[str, Any]] = {
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    "png": {"Software": None},
}
"""What would differ from day to day, or from version to version, in a file of each kind."""
STYLE: Any = {  # mypy knows rc keys one by one
    "svg.hashsalt": "purifybench",
    "svg.fonttype": "path",
    "font.family": "DejaVu Sans",  # ships with matplotlib
    "font.size": 9,
    "text.parse_math": False,  # a name is a name, whatever is in it
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.constrained_layout.use": True,
}
_SMALL: Any = {"textcoords": "offset points", "color": "0.35", "fontsize": 8}
_DASHES = {"exact": "-", "bpda": (0, (4, 1.5)), "recovered": (0, (1, 1.5))}
TITLE = 70
"""Characters of a title."""
NAME_LENGTH = 28
"""Characters of a name in a plot."""
APART = 0.1
"""Share of images by which an attack's own count may lie below the verdict on its images."""


def plot_convergence(entry: Entry, path: Path) -> None:
    """Draws how far each attack had come after each step: one line an attack.

    A line is the share of images that the attack, by its own count, has not yet turned: the lowest so far,
    since a trace starts again with each restart; steps of restarts follow one another. The dot at its end is
    the verdict on its images. Where the two are far apart the attack counts on something else than the victim
    (the bare classifier, its own draws): such a line is thin. Level lines are what AutoAttack left, which keeps
    no steps (its images drawn again; thin its own verdict, where it is another), and dotted clean accuracy and
    worst case.

    Args:
        entry: With at least one attack that kept a trace of two steps.
        path: Ends in `.svg`, `.pdf` or `.png`.

    Raises:
        BenchError: The entry has no such attack, the path another ending, or it cannot be written.
    """
    rows = [row for row in entry.attacks if len(row.trace) > 1]
    if not rows:
        raise BenchError(
            f"no attack of {entry.defense.label!r} kept a trace of two steps or more; there is nothing to plot"
        )
    draw(path, lambda figure: _convergence(figure, entry, rows))


def _convergence(figure: Figure, entry: Entry, rows: Sequence[AttackRecord]) -> None:
    axes = figure.add_subplot()
    ranked = sorted(rows, key=lambda row: (-min(row.trace), row.id))  # as the lines end, from above
    autoattack = [row for row in entry.attacks if row.column is Column.AUTOATTACK and row.rates]
    levels = [row for row in autoattack if row not in rows]
    several = colours(len(ranked) + len(levels))
    for row, colour in zip(ranked, several, strict=False):
        steps, _, verdict = trace_line(axes, row, colour)
        axes.plot(steps, verdict, "o", color=colour, markersize=3.5, clip_on=False)
    for row, colour in zip(levels, several[len(ranked) :], strict=True):
        _level_line(axes, row, colour)
    _levels(axes, entry)
    axes.set_xscale("log")
    axes.set_xlim(1, max(len(row.trace) for row in rows) * 1.05)
    axes.set_ylim(-2, 102)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(LogFormatter())  # the usual one's text is markup
    axes.set_xlabel("step of the attack (restarts one after the other)")
    axes.set_ylabel("images still classified rightly, lowest so far (%)")
    _name(figure, axes, entry)


def trace_line(axes: Axes, row: AttackRecord, colour: Any) -> tuple[int, float, float]:
    """Draws how far an attack had come after each step; where the line ends, and the verdict, both in %."""
    lowest = list(accumulate(row.trace, min))
    verdict = row.rates.single.value if row.rates else lowest[-1]
    axes.plot(
        range(1, len(lowest) + 1),
        [100 * share for share in lowest],
        color=colour,
        linestyle=_DASHES.get(row.gradient, "-"),
        linewidth=0.7 if verdict - lowest[-1] > APART else 1.6,
        label=f" {shortened(row.id, NAME_LENGTH)}",
    )
    return len(lowest), 100 * lowest[-1], 100 * verdict


def _level_line(axes: Axes, row: AttackRecord, colour: Any) -> None:
    """Draws what an attack without steps left, and thin its own verdict if that is another."""
    again = [row.rates.single.value] if row.rates else []
    said = list(dict.fromkeys(f"{100 * share:.1f}" for share in (*again, *row.trace[-1:])))
    label = f" {shortened(row.id, NAME_LENGTH)} {', natively '.join(said)}"
    for i, level in enumerate(said):
        axes.axhline(
            float(level),
            color=colour,
            linestyle=(0, (8, 2, 1.5, 2)),
            linewidth=0.7 if i else 1.6,
            label=label if i == 0 else None,
        )


def plot_eps_curve(entry: Entry, path: Path) -> None:
    """Draws the accuracy that the diagnosed attack leaves under each budget; dotted is the entry's own budget.

    Args:
        entry: With an eps curve.
        path: Ends in `.svg`, `.pdf` or `.png`.

    Raises:
        BenchError: The entry has no curve, the path another ending, or it cannot be written.
    """
    if not entry.eps_curve:
        raise BenchError(
            f"{entry.defense.label!r} has no eps curve: its protocol asked for no diagnosis; nothing to plot"
        )

    def fill(figure: Figure) -> None:
        axes = figure.add_subplot()
        budget_line(axes, entry)
        _name(figure, axes, entry)

    draw(path, fill)


def budget_line(axes: Axes, entry: Entry) -> None:
    """Draws the curve of an entry that has one, with its axes."""
    budgets = [point.eps for point in entry.eps_curve]
    axes.plot(budgets, [100 * point.rate for point in entry.eps_curve], "o-", markersize=4)
    axes.axvline(entry.threat.eps, color="0.45", linestyle=":", linewidth=1)
    at: Any = {"xycoords": ("data", "axes fraction"), "xytext": (3, -10)}
    axes.annotate(entry.threat.text, (entry.threat.eps, 1), **_SMALL, **at)
    axes.set_xlim(0, max(*budgets, entry.threat.eps) * 1.03)
    axes.set_ylim(-2, 102)
    axes.set_xlabel(f"budget ({entry.threat.norm}, pixel units of [0, 1])")
    axes.set_ylabel("accuracy under the diagnosed attack (%)")


def _levels(axes: Axes, entry: Entry) -> None:
    """Clean accuracy and worst case, where there are any."""
    for name, rates, above in (("clean", entry.clean, 3), ("worst case", entry.worst, -10)):
        if rates:
            level = 100 * rates.single.value
            axes.axhline(level, color="0.25", linestyle=":", linewidth=1.2)
            at: Any = {"xycoords": ("axes fraction", "data"), "xytext": (-2, above), "ha": "right"}
            axes.annotate(f"{name} {level:.1f}", (1, level), **_SMALL, **at)


def colours(n: int) -> list[Any]:
    """So many colours, no two alike below 21."""
    colours = mpl.colormaps["tab10" if n <= 10 else "tab20"]
    return [colours(i % colours.N) for i in range(n)]


def _name(figure: Figure, axes: Axes, entry: Entry) -> None:
    dataset, protocol = entry.dataset, entry.protocol
    text = f"{entry.name}, {dataset.name}, {entry.threat.text}, {protocol.name}, n = {dataset.n}"
    axes.set_title(shortened(text, TITLE), loc="left", fontsize=10)
    if not axes.get_legend_handles_labels()[0]:
        return
    figure.legend(
        loc="outside right upper",
        frameon=False,
        fontsize=8,
        title="attack (dashed: BPDA; dot or level:\nverdict; thin: counts by something else)",
        title_fontsize=8,
        alignment="left",
    )


def draw(path: Path, fill: Callable[[Figure], None], size: tuple[float, float] = SIZE) -> None:
    """Writes a figure of the project's look, of a size in inches.

    Raises:
        BenchError: The path does not end in `.svg`, `.pdf` or `.png`, or it cannot be written.
    """
    kind = path.suffix.lower().removeprefix(".")
    if kind not in _NO_DATE:
        raise BenchError(
            f"plot {plain(str(path))!r}: expected a name that ends in .svg, .pdf or .png"
        )
    write_whole(path, drawn(kind, fill, size))


def drawn(
    kind: str, fill: Callable[[Figure], None], size: tuple[float, float], style: Any = STYLE
) -> bytes:
    """A figure as a file of a kind, `svg`, `pdf` or `png`, in matplotlib's own settings."""
    content = io.BytesIO()
    with mpl.rc_context(style):
        figure = Figure(figsize=size)
        fill(figure)
        figure.savefig(content, format=kind, dpi=RESOLUTION, metadata=_NO_DATE[kind])
    return content.getvalue()


def name_beside(
    axes: Axes, at: tuple[float, float], name: str, place: float, colour: Any, link: str = ""
) -> None:
    """Writes a name at the right and draws a thin line from it to its point.

    Args:
        axes: From -2 to 102 % in height.
        at: The point.
        name: Cut off where it is long.
        place: How far below 100 %, as `spread` gives it.
        colour: Of the name.
        link: Where it leads, in an SVG; empty for nowhere.
    """
    line = {"arrowstyle": "-", "color": "0.8", "linewidth": 0.6, "shrinkA": 0, "shrinkB": 3}
    where: Any = {
        "xytext": (1.035, (102 - place) / 104),
        "textcoords": "axes fraction",
        "annotation_clip": False,
    }
    axes.annotate("", at, arrowprops=line, **where)
    said = f" {shortened(name, NAME_LENGTH)}"
    axes.annotate(said, at, va="center", color=colour, fontsize=8, url=link or None, **where)


def spread(wanted: Sequence[float], gap: float) -> list[float]:
    """Places from 0 to 100, where all have room, as near to the wanted ones as names allow that must not touch.

    Args:
        wanted: From top to bottom.
        gap: The least distance between two.
    """
    places: list[float] = []
    for y in wanted:
        places.append(max(y, 0, *(place + gap for place in places[-1:])))
    limit = 100.0
    for i in reversed(range(len(places))):
        places[i] = round(min(places[i], limit), 1)
        limit = places[i] - gap
    return places
