"""Charts: numbers become places on a small SVG, which a template draws; pure, and the same bytes each time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import ClassVar

from benchmark.publishing.leaderboard.escaping import shortened
from benchmark.records.entry import Entry
from benchmark.records.entry_parts import AttackRecord

WIDTH = 760
LEFT, TOP, BOTTOM = 58, 16, 48
"""Room for the axes, in units of the drawing."""
LABELS = 222
"""Room for the names, at the right."""
LINE = 19
"""Between two names."""
LEAST_HEIGHT = 330
LOOKS = 8
"""Colours there are; beyond them lines are dashed."""
NAME_LENGTH = 28
"""Characters of a name in a chart."""
APART = 0.1
"""Share of images by which an attack's own count may lie below the verdict on its images."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One entry of a scatter plot, in the units of its axes.

    Args:
        name: Said beside it.
        link: Where it leads; empty for nowhere.
        low: Lower end of the interval of y.
        high: Its upper end.
        left: Lower end of the interval of x.
        right: Its upper end.
    """

    name: str
    link: str
    x: float
    y: float
    low: float
    high: float
    left: float = 0.0
    right: float = 0.0


@dataclass(frozen=True, slots=True)
class Series:
    """One line.

    Args:
        name: Said beside it.
        points: `(x, y)` from left to right; at least one.
        is_thin: Whether it says less than the others.
    """

    name: str
    points: Sequence[tuple[float, float]]
    is_thin: bool = False


@dataclass(frozen=True, slots=True)
class Axis:
    """One direction: from which value to which, and what it says."""

    title: str
    low: float
    high: float

    def ticks(self) -> list[float]:
        """About five round values (1, 2 or 5 times a power of ten apart) from end to end."""
        rough = (self.high - self.low) / 5
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(power * k for k in (1, 2, 5, 10) if power * k >= rough * (1 - 1e-9))
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [round(i * step, 9) for i in range(first, last + 1)]

    def share(self, value: float) -> float:
        """How far along it a value lies, 0 to 1."""
        return (value - self.low) / (self.high - self.low)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """Something drawn, and its name beside it.

    Args:
        x: Of a dot, or of a line's end; the name is led to from here.
        y: Likewise.
        name_y: Where the name stands.
        low: Where a dot's interval ends below.
        high: Where it ends above.
        points: Of a line, as SVG takes them; empty for a dot.
        look: Which colour, counted from 0.
        is_dashed: Whether the colours have been through once.
        is_thin: Whether it says less than the others.
    """

    name: str
    x: float
    y: float
    name_y: float
    link: str = ""
    low: float = 0.0
    high: float = 0.0
    points: str = ""
    look: int = 0
    is_dashed: bool = False
    is_thin: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A drawing: its axes, and what is drawn on the plane between them.

    Args:
        key: Unlike that of any other chart on its page.
        title: What it shows.
        about: The same for those who do not see it.
        x_axis: From left to right.
        y_axis: From bottom to top.
        names: How many stand at the right.
        has_diagonal: Whether there is a line on which both axes agree.
    """

    width: ClassVar[int] = WIDTH
    left: ClassVar[int] = LEFT
    right: ClassVar[int] = WIDTH - LABELS
    top: ClassVar[int] = TOP

    key: str
    title: str
    about: str
    x_axis: Axis
    y_axis: Axis
    names: int
    marks: tuple[Mark, ...] = ()
    has_diagonal: bool = False

    @property
    def height(self) -> int:
        """Of all of it, in units of the drawing."""
        return max(LEAST_HEIGHT, TOP + BOTTOM + LINE * self.names)

    @property
    def bottom(self) -> int:
        """Where the plane ends below."""
        return self.height - BOTTOM

    @property
    def diagonal(self) -> str:
        """The ends of the line on which both axes agree; empty where there is none."""
        low, high = max(self.x_axis.low, self.y_axis.low), min(self.x_axis.high, self.y_axis.high)
        ends = f"{self.x(low)},{self.y(low)} {self.x(high)},{self.y(high)}"
        return ends if self.has_diagonal else ""

    def x(self, value: float) -> float:
        """The place of a value from the left."""
        return round(self.left + self.x_axis.share(value) * (self.right - self.left), 1)

    def y(self, value: float) -> float:
        """The place of a value from above."""
        return round(self.bottom - self.y_axis.share(value) * (self.bottom - self.top), 1)


def scatter(key: str, title: str, points: Sequence[Point], x_axis: Axis, y_axis: Axis) -> Chart:
    """Dots with their intervals, each with its name at the right; one colour for all.

    Args:
        key: Unlike that of any other chart on the page.
        title: What it shows.
        points: At least one, within the axes.
        x_axis: From left to right; the same quantity as the other, so that a line shows where they agree.
        y_axis: From bottom to top.
    """
    ordered = sorted(points, key=lambda p: -p.y)
    chart = Chart(
        key=key,
        title=title,
        about="; ".join(f"{p.name}: {p.x:.1f}, {p.y:.1f}" for p in ordered),
        x_axis=x_axis,
        y_axis=y_axis,
        names=len(points),
        has_diagonal=True,
    )
    places = spread([chart.y(p.y) for p in ordered], TOP, chart.bottom)
    marks = (
        Mark(
            name=p.name,
            link=p.link,
            x=chart.x(p.x),
            y=chart.y(p.y),
            low=chart.y(p.low),
            high=chart.y(p.high),
            name_y=name_y,
        )
        for p, name_y in zip(ordered, places, strict=True)
    )
    return replace(chart, marks=tuple(marks))


def lines(key: str, title: str, series: Sequence[Series], x_axis: Axis, y_axis: Axis) -> Chart:
    """Lines, each in its colour and with its name at the right.

    Args:
        key: Unlike that of any other chart on the page.
        title: What it shows.
        series: At least one, within the axes.
        x_axis: From left to right.
        y_axis: From bottom to top.
    """
    ends = [(s.name, *(round(s.points[i][1], 3) for i in (0, -1))) for s in series]
    about = "; ".join(f"{name}: from {first:g} to {last:g}" for name, first, last in ends)
    chart = Chart(
        key=key, title=title, about=about, x_axis=x_axis, y_axis=y_axis, names=len(series)
    )
    at = [(chart.x(s.points[-1][0]), chart.y(s.points[-1][1])) for s in series]
    order = sorted(range(len(series)), key=lambda i: (at[i][1], i))
    places = spread([at[i][1] for i in order], TOP, chart.bottom)
    name_y = dict(zip(order, places, strict=True))
    marks = (
        Mark(
            name=s.name,
            x=at[i][0],
            y=at[i][1],
            name_y=name_y[i],
            points=" ".join(f"{chart.x(x):g},{chart.y(y):g}" for x, y in bends(s.points)),
            look=i % LOOKS,
            is_dashed=i >= LOOKS,
            is_thin=s.is_thin,
        )
        for i, s in enumerate(series)
    )
    return replace(chart, marks=tuple(marks))


def tradeoff(entry: Entry, name: str, link: str = "") -> Point | None:
    """Clean against robust accuracy, single draws, in %; None where an entry has not both."""
    if not (entry.clean and entry.worst):
        return None
    x, y = entry.clean.single, entry.worst.single
    return Point(
        name=shortened(name, NAME_LENGTH),
        link=link,
        x=100 * x.value,
        y=100 * y.value,
        low=100 * y.low,
        high=100 * y.high,
        left=100 * x.low,
        right=100 * x.high,
    )


def convergence(row: AttackRecord) -> Series:
    """How far an attack had come after each step, in %: the lowest so far, since restarts start again.

    It is thin where it lies far below the verdict, since the attack then counts by something else.
    """
    lowest = list(accumulate(row.trace, min))
    points = [(step, 100 * share) for step, share in enumerate(lowest, start=1)]
    verdict = row.rates.single.value if row.rates else lowest[-1]
    return Series(shortened(row.id, NAME_LENGTH), points, is_thin=verdict - lowest[-1] > APART)


def bends(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """A line without the points that lie between two of the same height: it is drawn the same."""
    inner = [
        p
        for before, p, after in zip(points, points[1:], points[2:], strict=False)
        if not before[1] == p[1] == after[1]
    ]
    return [points[0], *inner, *points[-1:]] if len(points) > 1 else list(points)


def spread(wanted: Sequence[float], top: float, bottom: float, gap: float = LINE) -> list[float]:
    """Places as near to the wanted ones as names allow that must not touch.

    Args:
        wanted: From top to bottom.
        top: The first place there is.
        bottom: The last; there is room for all.
        gap: The least distance between two.
    """
    places: list[float] = []
    for y in wanted:
        places.append(max(y, top, *(place + gap for place in places[-1:])))
    limit = bottom
    for i in reversed(range(len(places))):
        places[i] = round(min(places[i], limit), 1)
        limit = places[i] - gap
    return places
