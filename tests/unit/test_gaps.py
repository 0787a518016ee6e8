"""Gaps: what failed or is missing is named, and is never taken for robustness."""

import dataclasses

import pytest

from benchmark.errors import BenchError
from tests.records import WHOLE, Run, deterministic

GAPS = {
    "failed": {"failed": frozenset({("pgd", 2)})},
    "the last shard is missing": {"missing": frozenset({("pgd", 4)})},
    "a shard between others is missing": {"missing": frozenset({("pgd", 2)})},
    "all shards are missing": {"missing": frozenset({("pgd", i) for i in (0, 2, 4)})},
    "skipped": {"skipped": {"pgd": "no gradient"}},
    "in no plan": {"not_planned": frozenset({"pgd"})},
}


@pytest.mark.parametrize("how", GAPS.values(), ids=list(GAPS))
def test_a_gap_is_named_and_its_column_has_no_value(how):
    entry = Run(rows=WHOLE, **how).entry()
    assert entry.status == "gaps"
    assert [(gap.row, gap.column) for gap in entry.gaps] == [("pgd", "adaptive")]
    assert entry.columns.adaptive.rates is None
    assert not entry.columns.adaptive.is_complete
    assert entry.columns.oblivious.is_complete
    assert entry.worst.single.value <= 2 / 6


def test_a_crash_with_its_reason_stands_in_the_entry_and_gives_no_outcome():
    entry = Run(rows=WHOLE, failed=frozenset({("pgd", 2)})).entry()
    (record,) = [row for row in entry.attacks if row.id == "pgd"]
    assert (record.status, record.rates, record.outcomes) == ("gap", None, ())
    assert record.error == "images 2 to 4 failed: RuntimeError: it | crashed"


def test_one_gradient_mode_that_crashed_leaves_its_column_without_a_value():
    rows = WHOLE | deterministic(pgd_bpda="000000")
    entry = Run(rows=rows, failed=frozenset({("pgd:bpda", 0)})).entry()
    assert entry.columns.adaptive.rows == ("pgd", "pgd:bpda")
    assert entry.columns.adaptive.rates is None


def test_what_a_half_finished_attack_did_break_stays_broken():
    rows = deterministic(clean="1111", pgd="0011")
    entry = Run(rows=rows, failed=frozenset({("pgd", 2)})).entry()
    assert entry.per_image.worst == ("0", "0", "1", "1")


def test_without_a_whole_clean_row_there_are_no_rates_at_all():
    entry = Run(rows=WHOLE, failed=frozenset({("clean", 0)})).entry()
    assert (entry.status, entry.clean, entry.worst) == ("gaps", None, None)
    assert all(row.rates is None for row in entry.attacks)
    assert entry.columns.oblivious.rates is None
    assert entry.per_image.worst == entry.per_image.chosen == ()


def test_a_source_that_failed_is_a_gap_too():
    run = Run(rows=WHOLE, sources={"made-bare:net": list("000000")})
    assert run.entry().status == "complete"
    entry = dataclasses.replace(run, failed=frozenset({("made-bare:net", 0)})).entry()
    assert [gap.row for gap in entry.gaps] == ["made-bare:net"]
    assert entry.undefended.oblivious is None


def test_a_row_for_too_few_classes_may_be_left_out_of_a_plan():
    assert Run(rows=WHOLE, not_planned=frozenset({"pgd"}), classes=3).entry().status == "complete"


def test_a_column_that_the_protocol_does_not_have_is_no_gap():
    entry = Run(rows=deterministic(clean="11", pgd="10")).entry()
    assert entry.columns.transfer is None
    assert entry.status == "complete"


def test_nothing_planned_is_refused():
    run = Run(rows=deterministic(clean="11"), skipped={"clean": "no images"})
    with pytest.raises(BenchError, match=r"could plan none \(no images\)"):
        run.entry()
