"""Plots of entries, the same to the byte each time; matplotlib is loaded only when one is drawn."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.errors import BenchError
from benchmark.files.atomic import write_whole
from benchmark.publishing.leaderboard.charts import convergence
from benchmark.publishing.leaderboard.escaping import plain, shortened
from benchmark.records.entry import AttackRecord, Entry

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

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
_STYLE: Any = {  # mypy knows rc keys one by one
    "svg.hashsalt": "purifybench",
    "svg.fonttype": "path",
    "font.family": "DejaVu Sans",  # ships with matplotlib
    "font.size": 9,
    "text.parse_math": False,  # a name is a name, whatever is in it
    "axes.spines.top": False,
    "axes.spines.right": False,
}
_SMALL: Any = {"textcoords": "offset points", "color": "0.35", "fontsize": 8}
_DASHES = {"exact": "-", "bpda": (0, (4, 1.5)), "recovered": (0, (1, 1.5))}
TITLE = 70
"""Characters of a title."""


def plot_convergence(entry: Entry, path: Path) -> None:
    """Draws how far each attack had come after each step: one line an attack.

    A line is the share of images that the attack, by its own count, has not yet turned: the lowest so far,
    since a trace starts again with each restart; steps of restarts follow one another. The dot at its end is
    the verdict on its images. Where the two are far apart the attack counts on something else than the victim
    (the bare classifier, its own draws): such a line is thin. Dotted are clean accuracy and worst case.

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
    for row, colour in zip(ranked, colours(len(ranked)), strict=True):
        series = convergence(row)
        steps, lowest = zip(*series.points, strict=True)
        axes.plot(
            steps,
            lowest,
            color=colour,
            linestyle=_DASHES.get(row.gradient, "-"),
            linewidth=0.7 if series.is_thin else 1.6,
            label=f" {series.name}",
        )
        verdict = 100 * row.rates.single.value if row.rates else lowest[-1]
        axes.plot(len(lowest), verdict, "o", color=colour, markersize=3.5, clip_on=False)
    _levels(axes, entry)
    axes.set_xscale("log")
    axes.set_xlim(1, max(len(row.trace) for row in rows) * 1.05)
    axes.set_ylim(-2, 102)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_xlabel("step of the attack (restarts one after the other)")
    axes.set_ylabel("images still classified rightly, lowest so far (%)")
    _name(figure, axes, entry)


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
    draw(path, lambda figure: _eps_curve(figure, entry))


def _eps_curve(figure: Figure, entry: Entry) -> None:
    axes = figure.add_subplot()
    budgets = [point.eps for point in entry.eps_curve]
    axes.plot(budgets, [100 * point.rate for point in entry.eps_curve], "o-", markersize=4)
    axes.axvline(entry.threat.eps, color="0.45", linestyle=":", linewidth=1)
    at: Any = {"xycoords": ("data", "axes fraction"), "xytext": (3, -10)}
    axes.annotate(entry.threat.text, (entry.threat.eps, 1), **_SMALL, **at)
    axes.set_xlim(0, max(*budgets, entry.threat.eps) * 1.03)
    axes.set_ylim(-2, 102)
    axes.set_xlabel(f"budget ({entry.threat.norm}, pixel units of [0, 1])")
    axes.set_ylabel("accuracy under the diagnosed attack (%)")
    _name(figure, axes, entry)


def _levels(axes: Axes, entry: Entry) -> None:
    """Clean accuracy and worst case, where there are any."""
    for name, rates, above in (("clean", entry.clean, 3), ("worst case", entry.worst, -10)):
        if rates:
            level = 100 * rates.single.value
            axes.axhline(level, color="0.45", linestyle=":", linewidth=1)
            at: Any = {"xycoords": ("axes fraction", "data"), "xytext": (-2, above), "ha": "right"}
            axes.annotate(f"{name} {level:.1f}", (1, level), **_SMALL, **at)


def colours(n: int) -> list[Any]:
    """So many colours, no two alike below 21."""
    from matplotlib import colormaps

    names = "tab10" if n <= 10 else "tab20"
    colours = colormaps[names]
    return [colours(i % colours.N) for i in range(n)]


def _name(figure: Figure, axes: Axes, entry: Entry) -> None:
    """Title and legend."""
    dataset, protocol = entry.dataset, entry.protocol
    text = f"{entry.name}, {dataset.name}, {entry.threat.text}, {protocol.name}, n = {dataset.n}"
    axes.set_title(shortened(text, TITLE), loc="left", fontsize=10)
    if not axes.get_legend_handles_labels()[0]:
        return
    figure.legend(
        loc="outside right upper",
        frameon=False,
        fontsize=8,
        title="attack (dashed: BPDA; dot: verdict;\nthin: counts by something else)",
        title_fontsize=8,
        alignment="left",
    )


def draw(path: Path, fill: Callable[[Figure], None], size: tuple[float, float] = SIZE) -> None:
    """Writes a figure of the project's look.

    Args:
        path: Ends in `.svg`, `.pdf` or `.png`.
        fill: Draws into it.
        size: In inches.

    Raises:
        BenchError: The path has another ending, or it cannot be written.
    """
    kind = path.suffix.lower().removeprefix(".")
    if kind not in _NO_DATE:
        raise BenchError(
            f"plot {plain(str(path))!r}: expected a name that ends in .svg, .pdf or .png"
        )
    import matplotlib as mpl  # here so that entries are read without it
    from matplotlib.figure import Figure

    content = io.BytesIO()
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=size, layout="constrained")
        fill(figure)
        figure.savefig(content, format=kind, dpi=RESOLUTION, metadata=_NO_DATE[kind])
    write_whole(path, content.getvalue())
