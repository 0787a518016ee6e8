"""The charts and cells of the site: what stands where, and in which order."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

from benchmark.publishing.leaderboard.plots import spread
from benchmark.publishing.site.cell import Cell
from benchmark.publishing.site.panels import LOOKS, panels, tradeoff
from benchmark.publishing.site.urls import shelves
from tests.helpers.run_builder import Run, deterministic
from tests.helpers.sample_entries import toy

LINE = re.compile(r'<path d="([^"]*)" fill="none"[^>]* stroke="var\(--drawn-(00000[1-8])\)"')


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
    assert spread([10, 100, 101], 0, 300, 19) == [10, 100, 119]


def height(percent):
    """Where a number stands in a drawing of the least height, from -2 to 102 %."""
    return round(282 - (percent + 2) / 104 * (282 - 16), 1)


def drawn_lines(chart):
    """The places of each coloured line, and its colour."""
    numbers = [(re.findall(r"-?[\d.]+", path), look) for path, look in LINE.findall(chart.drawing)]
    return [([*zip(map(float, n[::2]), map(float, n[1::2]), strict=True)], c) for n, c in numbers]


def converged(**traces):
    rows = deterministic(clean="1111", **dict.fromkeys(traces, "1100"))
    ((_, _, (chart,)),) = panels(Run(rows=rows, traces=traces).entry())
    return chart


def test_a_line_keeps_its_bends_and_nothing_else():
    chart = converged(pgd=(1.0, *[0.75] * 50, *[0.5] * 50))
    ((places, _),) = drawn_lines(chart)
    assert len(places) <= 6
    assert (places[0], places[-1]) == ((58, height(100)), (538, height(50)))
    assert {y for _, y in places} == {height(100), height(75), height(50)}


def test_each_line_has_its_own_colour_and_its_name_in_it():
    chart = converged(**{f"pgd-{i}": (1.0, 0.5) for i in range(len(LOOKS))})
    looks = [look for _, look in drawn_lines(chart)]
    assert [f"#{look}" for look in looks] == LOOKS
    for i, look in enumerate(looks):
        assert re.search(
            rf'<text [^>]*fill="var\(--drawn-{look}\)"> ?pgd-{i}</text>', chart.drawing
        )


def board_chart(*entries):
    (shelf,) = shelves(entries)
    return tradeoff(shelf, shelf.boards[0], 1)


def test_a_dot_stands_at_its_numbers_and_its_interval_around_it():
    entry = toy("half", pgd="1100")
    chart = board_chart(entry)
    robust = entry.worst.single
    across, up = (places for places, _ in drawn_lines(chart) if len(places) == 2)
    assert [y for _, y in across] == [height(50)] * 2
    assert [y for _, y in up] == [height(100 * robust.low), height(100 * robust.high)]
    assert re.search(rf'<use href="#\w+" x="{up[0][0]:.1f}" y="{height(50):g}"', chart.drawing)
    assert chart.about == "1 half: 100.0, 50.0"


def test_a_name_of_a_board_leads_to_its_entry_and_is_text():
    chart = board_chart(toy('<b style="x">\u4e2d\u6587 #abcdef'), toy("none"))
    assert '<a href="none--net.html"><text' in chart.drawing
    assert Markup.escape("\u4e2d\u6587 #abcdef") in chart.drawing
    assert '&lt;b style="x"&gt;' in chart.drawing


def test_a_drawing_brings_no_style_of_its_own_and_is_the_same_each_time():
    entries = [toy("a"), toy("b", pgd="0000")]
    chart = board_chart(*entries)
    assert not re.search(r"style=|<style|url\(|<!--|#[0-9a-f]{6}\b", chart.drawing)
    assert board_chart(*entries[::-1]) == chart
