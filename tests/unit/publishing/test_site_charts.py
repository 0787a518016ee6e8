"""The charts and cells of the site: what stands where, and in which order."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark.publishing.leaderboard.charts import (
    Axis,
    Point,
    Series,
    bends,
    lines,
    scatter,
    spread,
)
from benchmark.publishing.site.cell import Cell


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("75.0 (59.8–85.8)", Cell("75.0", "(59.8–85.8)", 75.0)),
        ("≤ 2.8 (0.2–6.6)", Cell("≤ 2.8", "(0.2–6.6)", 2.8)),
        ("57.3 (40.0)†", Cell("57.3", "(40.0)†", 57.3)),
        ("46.4k / 47.6k", Cell("46.4k / 47.6k", "", 46_400.0)),
        ("1.2M / 0", Cell("1.2M / 0", "", 1_200_000.0)),
        ("0.012", Cell("0.012", "", 0.012)),
        ("1e-05", Cell("1e-05", "", 1e-5)),
        ("gap", Cell("gap", "", None)),
        ("–", Cell("–", "", None)),
    ],
)
def test_a_cell_is_sorted_by_the_number_that_it_shows(text, cell):
    assert Cell.of(text) == cell


@given(st.lists(st.floats(0, 300), max_size=15).map(sorted))
def test_names_beside_a_chart_never_touch_and_stay_in_order(wanted):
    places = spread(wanted, 0, 300, 19)
    assert all(b - a >= 19 - 0.2 for a, b in pairwise(places))
    assert all(-0.2 <= place <= 300 for place in places)


def test_a_name_with_room_stands_where_it_belongs():
    assert spread([10, 100, 101], 0, 300) == [10, 100, 119]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 100, [0, 20, 40, 60, 80, 100]),
        (90, 100, [90, 92, 94, 96, 98, 100]),
        (1, 6, [1, 2, 3, 4, 5, 6]),
        (1, 287, [100, 200]),
        (0, 0.5, [0, 0.1, 0.2, 0.3, 0.4, 0.5]),
    ],
)
def test_ticks_are_round_numbers(low, high, expected):
    assert Axis("x", low, high).ticks() == expected


def test_a_line_keeps_its_bends_and_nothing_else():
    flat = [(1, 5.0), (2, 5.0), (3, 5.0), (4, 2.0), (5, 2.0)]
    assert bends(flat) == [(1, 5.0), (3, 5.0), (4, 2.0), (5, 2.0)]
    assert bends([(1, 5.0)]) == [(1, 5.0)]


def test_a_dot_stands_at_its_numbers_and_its_interval_around_it():
    point = Point(name="a", link="a.html", x=50, y=25, low=0, high=100)
    chart = scatter("k", "t", [point], Axis("x", 0, 100), Axis("y", 0, 100))
    (mark,) = chart.marks
    assert mark.x == (chart.left + chart.right) / 2
    assert mark.y == pytest.approx(chart.bottom - (chart.bottom - chart.top) / 4, abs=0.1)
    assert (mark.low, mark.high) == (chart.bottom, chart.top)
    assert (
        chart.diagonal == f"{chart.left:.1f},{chart.bottom:.1f} {chart.right:.1f},{chart.top:.1f}"
    )


def test_a_line_runs_from_the_first_value_to_the_last_in_its_own_colour():
    made = [Series(f"s{i}", [(0, 0.0), (10, 100.0)]) for i in range(9)]
    chart = lines("k", "t", made, Axis("x", 0, 10), Axis("y", 0, 100))
    assert chart.marks[0].points == f"{chart.left:g},{chart.bottom:g} {chart.right:g},{chart.top:g}"
    assert len({(mark.look, mark.is_dashed) for mark in chart.marks}) == 9
