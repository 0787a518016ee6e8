"""Diagnoses on the site: the curve over the budget, what was varied, a mark where others were diagnosed."""

from __future__ import annotations

import re

from benchmark.publishing.site.pages import render
from benchmark.publishing.site.panels import panels
from benchmark.records.diagnosis import CurvePoint, DiagnosisRecord
from benchmark.records.entry import Entry
from benchmark.records.rates import Cost
from tests.helpers.html_reader import Page, broken_links
from tests.helpers.sample_entries import toy
from tests.helpers.site_entries import BOARD


def diagnosed(label: str) -> Entry:
    """An entry with a curve over three budgets and one attack whose steps were doubled."""
    row = DiagnosisRecord(
        id="diagnosis-steps:exact",
        kind="steps",
        of="pgd",
        attack="pgd",
        plugin="attacks:pgd",
        arguments={},
        source_sha256="a" * 64,
        gradient="exact",
        eot=1,
        eps=0.03,
        images=2,
        job_key="k",
        error="",
        rate=0.5,
        outcomes=("1", "0"),
        cost=Cost(forwards_per_image=1, backwards_per_image=1, seconds_per_image=1),
    )
    rates = {0.0: 1.0, 0.1: 0.5, 0.5: 0.0}
    curve = tuple(CurvePoint(eps=eps, rate=rate) for eps, rate in rates.items())
    return toy(label).model_copy(update={"diagnosis": (row,), "eps_curve": curve})


def test_a_diagnosed_entry_has_a_curve_over_its_budget_and_others_have_none():
    ((_, _, (chart,)),) = panels(diagnosed("a"))
    (line,) = re.findall(r'<path d="([^"]*)"[^>]*-000001\)" stroke-width="1.5"', chart.drawing)
    ends = [tuple(map(float, point.split())) for point in line.removeprefix("M ").split(" L ")]
    assert [x for x, _ in ends] == sorted(x for x, _ in ends)
    assert [y for _, y in ends] == [21.1, 149.0, 276.9]
    assert chart.about == "pgd: from 100 to 0"
    assert list(panels(toy("a"))) == []


def test_a_board_shows_what_was_varied_and_marks_who_was_not_diagnosed():
    site = render([diagnosed("seen<b>"), toy("unseen")])
    page = Page(site[BOARD])
    assert "seen<b> / net 2 0: 100.0, 0.1: 50.0, 0.5: 0.0 100.0 → 50.0" in page.text
    assert "°: without a diagnosis" in page.text
    assert broken_links(site) == []
    assert "data-flagged" not in site[BOARD].decode(), "the mark is no flag"
