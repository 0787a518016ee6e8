"""Charts: numbers become places on a small SVG, which a template draws; pure, and the same bytes each time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One entry of a scatter plot, in the units of its axes.

    Args:
        name: Said beside it.
        link: Where it leads; empty for nowhere.
        low: Lower end of the interval of y.
        high: Its upper end.
    """

    name: str
    link: str
    x: float
    y: float
    low: float
    high: float


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


@dataclass(frozen=True, slots=True)
class Tick:
    """A mark on an axis: where, and what stands there."""

    at: float
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """Something drawn, and its name beside it.

    Args:
        look: Which colour, counted from 0.
        is_dashed: Whether the colours have been through once.
        is_thin: Whether it says less than the others.
        points: Of a line, as SVG takes them; empty for a dot.
        x: Of the dot, or of the line's end; the name is led to from here.
        y: Likewise.
        low: Where the dot's interval ends below; the dot's own place for a line.
        high: Where it ends above.
        name_y: Where the name stands.
    """

    name: str
    link: str
    look: int
    is_dashed: bool
    is_thin: bool
    points: str
    x: float
    y: float
    low: float
    high: float
    name_y: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A drawing: its frame, its axes, what is drawn on it."""

    key: str
    """Unlike that of any other chart on its page."""
    title: str
    about: str
    """What it shows, for those who do not see it."""
    width: int
    height: int
    left: int
    right: int
    top: int
    bottom: int
    x_title: str
    y_title: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    marks: tuple[Mark, ...]
    diagonal: str
    """The ends of the line on which both axes agree; empty where there is none."""


@dataclass(frozen=True, slots=True)
class _Frame:
    """A plane with its two axes, in the units of the drawing."""

    x_axis: Axis
    y_axis: Axis
    height: int

    @property
    def right(self) -> int:
        return WIDTH - LABELS

    @property
    def bottom(self) -> int:
        return self.height - BOTTOM

    def x(self, value: float) -> float:
        return round(LEFT + _share(self.x_axis, value) * (self.right - LEFT), 1)

    def y(self, value: float) -> float:
        return round(self.bottom - _share(self.y_axis, value) * (self.bottom - TOP), 1)

    def chart(
        self, words: tuple[str, str, str], marks: Sequence[Mark], diagonal: str = ""
    ) -> Chart:
        key, title, about = words
        return Chart(
            key=key,
            title=title,
            about=about,
            width=WIDTH,
            height=self.height,
            left=LEFT,
            right=self.right,
            top=TOP,
            bottom=self.bottom,
            x_title=self.x_axis.title,
            y_title=self.y_axis.title,
            x_ticks=tuple(Tick(self.x(value), f"{value:g}") for value in self.x_axis.ticks()),
            y_ticks=tuple(Tick(self.y(value), f"{value:g}") for value in self.y_axis.ticks()),
            marks=tuple(marks),
            diagonal=diagonal,
        )


def scatter(key: str, title: str, points: Sequence[Point], x_axis: Axis, y_axis: Axis) -> Chart:
    """Dots with their intervals, each with its name at the right; one colour for all.

    Args:
        key: Unlike that of any other chart on the page.
        title: What it shows.
        points: At least one, within the axes.
        x_axis: From left to right; the same quantity as the other, so that a line shows where they agree.
        y_axis: From bottom to top.
    """
    frame = _Frame(x_axis, y_axis, _height(len(points)))
    ordered = sorted(points, key=lambda p: -p.y)
    names = spread([frame.y(p.y) for p in ordered], TOP, frame.bottom)
    marks = [
        Mark(
            name=p.name,
            link=p.link,
            look=0,
            is_dashed=False,
            is_thin=False,
            points="",
            x=frame.x(p.x),
            y=frame.y(p.y),
            low=frame.y(p.low),
            high=frame.y(p.high),
            name_y=name_y,
        )
        for p, name_y in zip(ordered, names, strict=True)
    ]
    low, high = max(x_axis.low, y_axis.low), min(x_axis.high, y_axis.high)
    diagonal = f"{frame.x(low)},{frame.y(low)} {frame.x(high)},{frame.y(high)}"
    about = "; ".join(f"{p.name}: {p.x:.1f}, {p.y:.1f}" for p in ordered)
    return frame.chart((key, title, about), marks, diagonal)


def lines(key: str, title: str, series: Sequence[Series], x_axis: Axis, y_axis: Axis) -> Chart:
    """Lines, each in its colour and with its name at the right.

    Args:
        key: Unlike that of any other chart on the page.
        title: What it shows.
        series: At least one, within the axes.
        x_axis: From left to right.
        y_axis: From bottom to top.
    """
    frame = _Frame(x_axis, y_axis, _height(len(series)))
    ends = [(frame.x(s.points[-1][0]), frame.y(s.points[-1][1])) for s in series]
    order = sorted(range(len(series)), key=lambda i: (ends[i][1], i))
    places = spread([ends[i][1] for i in order], TOP, frame.bottom)
    name_y = dict(zip(order, places, strict=True))
    marks = [
        Mark(
            name=s.name,
            link="",
            look=i % LOOKS,
            is_dashed=i >= LOOKS,
            is_thin=s.is_thin,
            points=" ".join(f"{frame.x(x):g},{frame.y(y):g}" for x, y in bends(s.points)),
            x=ends[i][0],
            y=ends[i][1],
            low=ends[i][1],
            high=ends[i][1],
            name_y=name_y[i],
        )
        for i, s in enumerate(series)
    ]
    about = "; ".join(f"{s.name}: from {s.points[0][1]:g} to {s.points[-1][1]:g}" for s in series)
    return frame.chart((key, title, about), marks)


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


def _height(names: int) -> int:
    return max(LEAST_HEIGHT, TOP + BOTTOM + LINE * names)


def _share(axis: Axis, value: float) -> float:
    return (value - axis.low) / (axis.high - axis.low)
