"""The worst class: the one that has least, of clean images and in the worst case, wherever the mean stands."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmark.publishing.leaderboard.board_text import to_markdown, to_text
from benchmark.publishing.leaderboard.tables import Form, to_table
from benchmark.publishing.site.pages import render
from benchmark.records.entry_files import entry_text, read_entry
from benchmark.scoring.choice import worst_class
from benchmark.scoring.validation import problems_of
from tests.helpers.html_reader import Page
from tests.helpers.planned import Plan
from tests.helpers.run_builder import Run, deterministic
from tests.helpers.sample_entries import toy

ROWS = deterministic(clean="111011", pgd="100010")  # classes 0 1 2 0 1 2
SAID = "clean 83.3 → 50.0 (class 0, n = 2), worst case 33.3 → 0.0 (class 2, n = 2)"
OLD = Path(__file__).resolve().parents[3] / "leaderboards/digits/linf-0.15"


@pytest.mark.parametrize(
    ("labels", "bits", "expected"),
    [
        ((3, 3, 7), ("1", "0", "1"), (3, 2, 0.5)),
        ((7, 3, 3), ("0", "0", "0"), (3, 2, 0.0)),  # of several the first
        ((5, 5), ("1", "0"), (5, 2, 0.5)),  # of one class the mean
        ((0, 1, 1), ("11", "10", "11"), (1, 2, 0.75)),  # by shares of draws
        ((2, 1), ("1", "0"), (1, 1, 0.0)),
    ],
)
def test_it_is_the_class_whose_images_have_the_least_mean(labels, bits, expected):
    found = worst_class(labels, bits)
    assert (found.label, found.n, found.rate.value) == expected
    assert found.rate.low <= found.rate.value <= found.rate.high < 1 or found.rate.high == 1


def test_clean_images_and_the_worst_case_have_each_their_own():
    found = Run(rows=ROWS, classes=3).entry().worst_class
    assert (found.clean.label, found.clean.n, found.clean.rate.value) == (0, 2, 0.5)
    assert (found.worst.label, found.worst.n, found.worst.rate.value) == (2, 2, 0.0)
    lost = Run(rows=ROWS, classes=3, failed=frozenset({("clean", 0)})).entry()
    assert (lost.worst, lost.worst_class) == (None, None)


def test_it_stands_beside_the_mean_on_every_page_and_in_tables():
    entry = Run(rows=ROWS, classes=3).entry()
    for page in (to_markdown([entry], "t"), to_text([entry])):
        assert f"worst class: toy / net: {SAID}" in page
    site = render([entry])
    assert SAID in Page(site["digits--linf-8-255/toy--net.html"]).text
    assert "worst case → worst class" in Page(site["digits--linf-8-255/index.html"]).text
    table = to_table([entry], ["clean-class", "worst-class"], Form.CSV)
    assert table.splitlines()[1].startswith("0.5,")
    assert json.loads(entry_text(entry))["worst_class"]["worst"]["label"] == 2


def test_a_bound_is_marked_as_one():
    gap = Run(rows=ROWS, classes=3, failed=frozenset({("pgd", 4)})).entry()
    assert "worst case ≤ 50.0 → ≤ " in to_text([gap])


@pytest.mark.parametrize("value", [None, "other"])
def test_validation_makes_it_anew(value):
    entry = Plan(n=4).entry()
    worst = entry.worst_class.worst
    other = entry.worst_class.model_copy(
        update={"worst": worst.model_copy(update={"n": worst.n + 1})}
    )
    changed = entry.model_copy(update={"worst_class": other if value else None})
    assert not any("worst_class" in line for line in problems_of(entry))
    assert any("worst_class" in line for line in problems_of(changed))


def test_an_entry_from_before_has_none_and_is_shown_without():
    old = read_entry(OLD / "none--digits-cnn--quick.json")
    assert old.worst_class is None
    assert to_text([old, toy("new")]).count("worst class: ") == 1
    forged = old.model_copy(update={"worst_class": toy("a").worst_class})
    assert "worst_class is not that of its outcomes" in problems_of(forged)
