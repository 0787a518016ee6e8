"""Diagnoses in entries: a curve, records, gaps of their own, and no ranked number."""

from __future__ import annotations

import json

import pytest

from benchmark.errors import BenchError
from benchmark.publishing.leaderboard.board_text import to_markdown, to_text
from benchmark.publishing.leaderboard.footnotes import NO_DIAGNOSIS
from benchmark.publishing.leaderboard.ranking import boards
from benchmark.records.entry import without_timing
from benchmark.records.entry_files import entry_text, read_entry, write_entry
from benchmark.records.result import Status
from tests.helpers.run_builder import WHOLE, Run, Varied, deterministic
from tests.helpers.sample_entries import cells

DIAGNOSIS = (
    Varied(kind="steps", cells="110"),
    Varied(kind="noise", cells="111"),
    Varied(kind="eps", cells="111", eps=0.01),
    Varied(kind="eps", cells="100", eps=0.1),
    Varied(kind="eps", cells="000", eps=0.5),
    Varied(kind="frozen", cells="110", own=0.25),
)
UNRANKED = {"flags", "diagnosis", "eps_curve", "examination"}


@pytest.mark.parametrize("shard", [1, 2, 6])
def test_no_ranked_number_knows_of_a_diagnosis(shard):
    plain = without_timing(Run(rows=WHOLE).entry(shard))
    made = without_timing(Run(rows=WHOLE, diagnosis=DIAGNOSIS).entry(shard))
    assert {k: v for k, v in made.items() if k not in UNRANKED} == {
        k: v for k, v in plain.items() if k not in UNRANKED
    }
    assert len(made["diagnosis"]) == len(DIAGNOSIS)


def test_the_curve_goes_from_the_clean_images_through_every_budget_with_the_own_one_cut_to_size():
    entry = Run(rows=WHOLE, diagnosis=DIAGNOSIS).entry()
    found = [(point.eps, round(point.rate, 3)) for point in entry.eps_curve]
    assert found == [(0.0, 1.0), (0.01, 1.0), (8 / 255, 1.0), (0.1, 0.333), (0.5, 0.0)]


def test_at_one_budget_the_worse_of_both_gradient_modes_counts_image_by_image():
    rows = deterministic(clean="1111", pgd_exact="1110", pgd_bpda="0111")
    varied = [
        Varied(kind="eps", cells="1100", eps=0.1, of="pgd:exact"),
        Varied(kind="eps", cells="0110", eps=0.1, of="pgd:bpda"),
    ]
    made = Run(rows=rows, diagnosis=varied).entry()
    assert [point.rate for point in made.eps_curve] == [1.0, 0.5, 0.25]


def test_a_clean_image_that_is_wrong_is_wrong_under_every_budget():
    rows = deterministic(clean="0111", pgd="0110")
    made = Run(rows=rows, diagnosis=[Varied(kind="eps", cells="1111", eps=0.5)]).entry()
    assert [point.rate for point in made.eps_curve] == [0.75, 0.5, 0.75]


def test_a_frozen_attack_keeps_its_own_word_beside_the_verdict_on_fresh_draws():
    entry = Run(rows=WHOLE, diagnosis=DIAGNOSIS).entry()
    row = entry.diagnosis[-1]
    assert (row.own, round(row.rate, 3)) == (0.25, 0.667)
    assert all(each.own is None for each in entry.diagnosis[:-1])


@pytest.mark.parametrize("broken", range(len(DIAGNOSIS)))
def test_a_crashed_variation_is_named_in_its_record_and_breaks_no_other(broken):
    name = DIAGNOSIS[broken].id
    made = Run(rows=WHOLE, diagnosis=DIAGNOSIS, failed=frozenset({(name, 0)})).entry()
    assert made.status == "complete"
    for row in made.diagnosis:
        assert bool(row.error) == (row.id == name)
        assert (row.rate is None) == (row.id == name)
    assert bool(made.eps_curve) == (DIAGNOSIS[broken].kind != "eps")


def test_an_entry_with_a_diagnosis_comes_back_as_it_was(tmp_path):
    entry = Run(rows=WHOLE, diagnosis=DIAGNOSIS).entry()
    write_entry(entry, tmp_path / "e.json")
    assert read_entry(tmp_path / "e.json") == entry


LIES = {
    "a rate that is not its outcomes'": ("diagnosis", 0, "rate", 0.1),
    "an outcome left out": ("diagnosis", 0, "outcomes", ["1"]),
    "an error with a rate": ("diagnosis", 0, "error", "x"),
    "a budget twice": ("eps_curve", 1, "eps", 0.0),
    "a kind nobody knows": ("diagnosis", 0, "kind", "luck"),
}


@pytest.mark.parametrize("lie", LIES.values(), ids=list(LIES))
def test_a_diagnosis_that_contradicts_itself_is_refused(lie, tmp_path):
    values = json.loads(entry_text(Run(rows=WHOLE, diagnosis=DIAGNOSIS).entry()))
    place, at, name, value = lie
    values[place][at][name] = value
    (tmp_path / "e.json").write_text(json.dumps(values))
    with pytest.raises(BenchError, match=place):
        read_entry(tmp_path / "e.json")


def test_entries_with_and_without_a_diagnosis_are_ranked_together_and_told_apart():
    old = Run(rows=WHOLE, label="old").entry()
    new = Run(rows=WHOLE, label="new", diagnosis=DIAGNOSIS).entry()
    assert len(boards([old, new])) == 1
    for page in (to_markdown([old, new], "t"), to_text([old, new])):
        assert NO_DIAGNOSIS[:30] in page
    (table, diagnoses) = _tables(to_markdown([old, new], "t"))
    flags = {row[1]: row[-1] for row in table[1:]}
    assert "°" in flags["old"]
    assert "°" not in flags["new"]
    assert [row[0] for row in diagnoses[1:]] == ["new / net"]


def test_a_board_on_which_none_was_diagnosed_looks_as_it_did():
    pages = to_markdown([Run(rows=WHOLE).entry()], "t"), to_text([Run(rows=WHOLE).entry()])
    assert not [page for page in pages if "°" in page or "iagnos" in page]


def test_a_page_shows_the_curve_and_what_doubling_and_a_frozen_draw_did():
    (_, diagnoses) = _tables(to_markdown([Run(rows=WHOLE, diagnosis=DIAGNOSIS).entry()], "t"))
    assert diagnoses[1][1:] == [
        "3",
        "0: 100.0, 0.01: 100.0, 0.0314: 100.0, 0.1: 33.3, 0.5: 0.0",
        "100.0 → 66.7",
        "–",
        "100.0",
        "25.0 → 66.7",
    ]


def test_a_crashed_variation_is_a_gap_on_the_page():
    failed = frozenset({("diagnosis-steps", 0), ("diagnosis-eps-0.5", 0)})
    made = Run(rows=WHOLE, diagnosis=DIAGNOSIS, failed=failed).entry()
    (_, diagnoses) = _tables(to_markdown([made], "t"))
    assert diagnoses[1][2:4] == ["gap", "100.0 → gap"]


def test_a_shard_that_is_cut_keeps_its_status():
    run = Run(rows=WHOLE, diagnosis=DIAGNOSIS, failed=frozenset({("diagnosis-steps", 2)}))
    found = run.evaluated()
    key = next(row.job.key for row in found.rows if row.id == "diagnosis-steps")
    assert [result.status for result in found.results[key]] == [Status.OK, Status.FAILED]


def _tables(page):
    """A page's tables, one after the other, each with its head."""
    found = []
    for row in cells(page):
        if row[0] in ("rank", "defense / classifier"):
            found.append([])
        found[-1].append(row)
    return found
