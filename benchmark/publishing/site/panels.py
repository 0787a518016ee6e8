"""Panels: which charts an entry's page and a board show, drawn from entries; the same bytes each time."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from itertools import cycle
from typing import NamedTuple
from xml.etree import ElementTree

from markupsafe import Markup
from matplotlib.axes import Axes

from benchmark.publishing.leaderboard.board_text import place_of
from benchmark.publishing.leaderboard.escaping import shortened
from benchmark.publishing.leaderboard.plot_tradeoff import Point, scatter
from benchmark.publishing.leaderboard.plots import (
    NAME_LENGTH,
    STYLE,
    budget_line,
    drawn,
    name_beside,
    spread,
    trace_line,
)
from benchmark.publishing.leaderboard.ranking import Board, Line
from benchmark.publishing.site.urls import Shelf
from benchmark.records.entry import Entry, is_undefended
from benchmark.records.entry_parts import AttackRecord

WIDTH, LEAST_HEIGHT = 760, 330
"""Of a drawing, in pixels; 72 are an inch."""
TOP, BOTTOM = 16, 48
"""Room for the axes."""
LINE = 19
"""Between two names."""
LOOKS = [f"#00000{i}" for i in range(1, 9)]
"""Stand for the colours that the style sheet names `--drawn-000001` and so on, in light and in dark."""
_STYLE = STYLE | {
    "svg.fonttype": "none",
    "font.size": 11,
    "axes.prop_cycle": f"cycler('color', {LOOKS})",
    "axes.spines.left": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": "0.8",
    "ytick.major.size": 0,
    "axes.facecolor": "none",
    "figure.frameon": False,
    "figure.constrained_layout.use": False,
    "figure.subplot.left": 58 / WIDTH,
    "figure.subplot.right": 1 - 222 / WIDTH,
}
_COLOUR, _NUMBER = re.compile(r"#([0-9a-f]{6})"), re.compile(r"-?\d+\.\d+")
_LEFT_OUT = re.compile(r"clip-path|target|font.*|stroke-(dashoffset|linecap|linejoin|miterlimit)")
"""Attributes of which a page has none, or whose usual value does."""
CONVERGENCE = (
    "How far each attack had come after each step: the share of images that it had not yet turned at any step "
    "so far, by its own count; steps of restarts follow one another. A thin line lies far below the verdict on "
    "the attack’s images: it counts by something else than the whole defense, such as the bare classifier or "
    "its own draws. A dashed line is of an attack with a stand-in for the gradient (BPDA)."
)
BUDGET = (
    "Accuracy under one attack, varied over its budget, on the first images; nothing in it is ranked. What is "
    "attacked in earnest falls to 0 as the budget grows. The dotted line is the entry’s own budget."
)
TRADEOFF = (
    "Clean against robust accuracy with their 95 % intervals; dashed: no attack did harm; hollow: undefended; "
    "triangle: attacks are missing, at most this"
)


class Chart(NamedTuple):
    """A drawing: its key on its page, what it shows, the same for those who do not see it, its size, itself."""

    key: str
    title: str
    about: str
    width: int
    height: int
    drawing: Markup


def chart(key: str, title: str, about: Sequence[str], fill: Callable[[Axes, float], None]) -> Chart:
    """Draws a chart.

    Args:
        key: Unlike that of any other chart on its page.
        title: What it shows.
        about: What it shows of each name that stands at its right.
        fill: Draws on empty axes, names so far apart, in % of their height.
    """
    height = max(LEAST_HEIGHT, TOP + BOTTOM + LINE * len(about))
    style = {
        **_STYLE,
        "svg.hashsalt": key,
        "figure.subplot.top": 1 - TOP / height,
        "figure.subplot.bottom": BOTTOM / height,
    }
    gap = 100 * LINE / (height - TOP - BOTTOM)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # a page brings its own fonts
        svg = drawn(
            "svg",
            lambda figure: fill(figure.add_subplot(), gap),
            (WIDTH / 72, height / 72),
            style,
        )
    return Chart(key, title, "; ".join(about), WIDTH, height, _markup(svg))


def _markup(svg: bytes) -> Markup:
    """What a page holds of a drawing: no style of its own, and no groups but those of the axes."""
    figure = next(part for part in ElementTree.fromstring(svg) if part.tag.endswith("}g"))
    for element in figure.iter():
        said = {name.rpartition("}")[2]: text for name, text in element.attrib.items()}
        styles = re.findall(r"([a-z-]+): ([^;]+)", said.pop("style", ""))
        said |= {name: _COLOUR.sub(r"var(--drawn-\1)", text) for name, text in styles}
        if said.get("transform", "").startswith("rotate(-0 "):
            del said["transform"]
        for name in {"d", "x", "y", "transform"} & said.keys():
            rounded = _NUMBER.sub(lambda found: f"{float(found[0]):.1f}", said[name])
            said[name] = " ".join(rounded.split())
        element.tag = element.tag.rpartition("}")[2]
        if element.tag == "g":
            is_axis = said.get("id", "").startswith("matplotlib.axis")
            element.tag, said = ("g", {"aria-hidden": "true"}) if is_axis else ("left-out", {})
        element.attrib = {
            name: text for name, text in said.items() if not _LEFT_OUT.fullmatch(name)
        }
        element.text, element.tail = element.text if element.tag == "text" else None, None
    whole = ElementTree.tostring(figure, "unicode", short_empty_elements=False)
    return Markup(re.sub("</?left-out>", "", whole))


def tradeoff(shelf: Shelf, board: Board, number: int) -> Chart | None:
    """Clean against robust accuracy of a board; None where no entry of it has both.

    Args:
        shelf: The board's page.
        board: What is drawn.
        number: Of the board on its page.
    """
    has_several = len(board.groups) > 1
    points, about = [], []
    for line, colour in zip(board.lines, cycle(LOOKS), strict=False):
        entry, name = line.entry, _name(line, has_several=has_several)
        if entry.clean and entry.worst:
            points.append(Point(entry, name, colour, shelf.placed(entry).page))
            x, y = entry.clean.single.value, entry.worst.single.value
            about.append(f"{shortened(name, NAME_LENGTH)}: {100 * x:.1f}, {100 * y:.1f}")
    if not points:
        return None
    return chart(
        f"tradeoff-{number}", TRADEOFF, about, lambda axes, gap: scatter(axes, points, gap)
    )


def _name(line: Line, *, has_several: bool) -> str:
    """A line of a board; its classifier where the board has several."""
    entry = line.entry
    if is_undefended(entry):
        return f"{entry.classifier.name}, undefended"
    of = f", {entry.classifier.name}" if has_several else ""
    return f"{place_of(line)} {entry.defense.label}{of}"


def panels(entry: Entry) -> Iterator[tuple[str, str, list[Chart]]]:
    """What an entry's page draws, in the order in which it stands there: heading, how to read it, charts."""
    if traced := list(_convergence(entry)):
        yield "Convergence", CONVERGENCE, traced
    if len(entry.eps_curve) > 1:
        of = shortened(next((row.of for row in entry.diagnosis), "attack"), NAME_LENGTH)
        first, last = (round(100 * entry.eps_curve[i].rate, 3) for i in (0, -1))
        said = [f"{of}: from {first:g} to {last:g}"]
        yield (
            "Budget",
            BUDGET,
            [
                chart(
                    "eps-curve",
                    "Accuracy by budget",
                    said,
                    lambda axes, _: budget_line(axes, entry),
                )
            ],
        )


def _convergence(entry: Entry) -> Iterator[Chart]:
    """One chart for each column whose attacks kept more than one step; sources have their own."""
    for column in dict.fromkeys(row.column for row in entry.attacks if row.column):
        rows = [row for row in entry.attacks if row.column is column]
        yield from _traces(f"convergence-{column}", f"Convergence: {column.said} attacks", rows)
    title = "Convergence: images made for transfer"
    yield from _traces("convergence-sources", title, entry.sources)


def _traces(key: str, title: str, rows: Sequence[AttackRecord]) -> Iterator[Chart]:
    traced = [row for row in rows if len(row.trace) > 1]
    if not traced:
        return
    about = [
        f"{shortened(row.id, NAME_LENGTH)}: from {100 * row.trace[0]:.4g} to {100 * min(row.trace):.4g}"
        for row in traced
    ]

    def fill(axes: Axes, gap: float) -> None:
        coloured = zip(traced, cycle(LOOKS), strict=False)
        ends = [(trace_line(axes, row, colour), row.id, colour) for row, colour in coloured]
        ends.sort(key=lambda end: -end[0][1])
        places = spread([100 - y for (_, y, _), *_ in ends], 0, 100, gap)
        for ((x, y, _), name, colour), place in zip(ends, places, strict=True):
            name_beside(axes, (x, y), name, place, colour)
        for line in axes.lines:
            line.get_path().should_simplify = True
        axes.set_xlim(1, max(len(row.trace) for row in traced))
        axes.set_ylim(-2, 102)
        axes.set_xlabel("step")
        axes.set_ylabel("still classified rightly (%)")

    yield chart(key, title, about, fill)
