"""Gaps: what failed or is missing is named, and is never taken for robustness."""

import dataclasses
import json

import pytest

from benchmark.errors import BenchError
from benchmark.publishing.leaderboard.board_text import to_markdown, to_text
from benchmark.publishing.leaderboard.tables import Form, to_table
from benchmark.records.entry import Entry
from benchmark.records.missing_rows import Missing, Why
from tests.helpers.run_builder import WHOLE, Run, deterministic

GAPS = {
    "failed": {"failed": frozenset({("pgd", 2)})},
    "the last shard is missing": {"missing": frozenset({("pgd", 4)})},
    "a shard between others is missing": {"missing": frozenset({("pgd", 2)})},
    "all shards are missing": {"missing": frozenset({("pgd", i) for i in (0, 2, 4)})},
    "skipped": {"skipped": {"pgd": Missing(Why.FAILED, "no gradient")}},
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


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_a_row_in_no_plan_is_a_gap_however_few_classes_there_are(classes):
    entry = Run(rows=WHOLE, not_planned=frozenset({"pgd"}), classes=classes).entry()
    assert [(gap.row, gap.why) for gap in entry.gaps] == [("pgd", Why.FAILED)]


FEW = Missing(Why.TOO_FEW_CLASSES, "AutoAttack needs at least 4 classes; this task has 2")


def test_what_does_not_apply_is_no_gap_and_is_said_on_the_board():
    entry = Run(rows=WHOLE, skipped={"autoattack": FEW}, classes=2).entry()
    assert (entry.status, entry.gaps) == ("complete", ())
    assert [(gap.row, gap.column, gap.why) for gap in entry.not_applicable] == [
        ("autoattack", "autoattack", Why.TOO_FEW_CLASSES)
    ]
    assert entry.columns.autoattack is None
    line = f"not applicable: autoattack (autoattack) (every row): {FEW}"
    for text in (to_markdown([entry], "x"), to_text([entry])):
        assert line in text
        assert " n/a " in text
    assert "n/a" in to_table([entry], ["autoattack"], Form.MARKDOWN)


def test_a_board_names_those_to_whom_alone_a_row_does_not_apply():
    few = Run(rows=WHOLE, skipped={"autoattack": FEW}, label="fixed").entry()
    other = Missing(Why.TOO_FEW_CLASSES, "it needs 3")
    entries = [few, Run(rows=WHOLE, label="random").entry()]
    assert "not applicable: autoattack (autoattack) (fixed on net): AutoAttack" in to_text(entries)
    entries[1] = Run(rows=WHOLE, label="random", skipped={"autoattack": other}).entry()
    assert f"autoattack (autoattack) (every row): {FEW}; it needs 3" in to_text(entries)


def test_a_column_is_measured_by_those_of_its_rows_that_do_apply():
    rows = WHOLE | deterministic(**{"autoattack-plus": "000000"})
    entry = Run(rows=rows, skipped={"autoattack-plus": FEW}).entry()
    assert entry.status == "complete"
    assert entry.columns.autoattack.rates.single.value == 3 / 6


def test_a_gap_beside_what_does_not_apply_leaves_its_column_a_gap():
    rows = WHOLE | deterministic(**{"autoattack-plus": "000000"})
    skipped = {"autoattack-plus": FEW, "autoattack": Missing(Why.FAILED, "no job")}
    entry = Run(rows=rows, skipped=skipped).entry()
    assert entry.status == "gaps"
    assert entry.columns.autoattack.rates is None
    assert "gap" in to_text([entry])


@pytest.mark.parametrize("why", [why for why in Why if why is not Why.FAILED])
def test_every_reason_that_a_plan_gives_is_kept_and_reads_back(why):
    entry = Run(rows=WHOLE, skipped={"pgd": Missing(why, "because")}).entry()
    again = Entry.model_validate_json(entry.model_dump_json())
    (gap,) = (*again.gaps, *again.not_applicable)
    assert (gap.why, gap.reason) == (why, "because")
    assert bool(again.gaps) is not why.is_not_applicable


@pytest.mark.parametrize(
    ("reason", "why"),
    [
        ("no surrogate classifiers are known for cifar10", Why.NO_SURROGATES),
        ("images 0 to 4 failed: RuntimeError: it crashed", Why.FAILED),
    ],
)
def test_a_gap_from_before_there_were_reasons_is_read_by_its_words(reason, why):
    values = Run(rows=WHOLE, not_planned=frozenset({"pgd"})).entry().model_dump(mode="json")
    values["gaps"] = [{"row": "pgd", "column": "adaptive", "reason": reason}]
    del values["not_applicable"]
    (gap,) = Entry.model_validate_json(json.dumps(values)).gaps
    assert gap.why is why


def test_a_gap_cannot_be_told_as_not_applicable_nor_the_other_way_round():
    values = Run(rows=WHOLE, not_planned=frozenset({"pgd"})).entry().model_dump(mode="json")
    moved = {**values, "gaps": [], "not_applicable": values["gaps"], "status": "complete"}
    with pytest.raises(ValueError, match="row 'pgd' is a gap"):
        Entry.model_validate_json(json.dumps(moved))
    values["gaps"][0]["why"] = "too-few-classes"
    with pytest.raises(ValueError, match="row 'pgd' is not applicable"):
        Entry.model_validate_json(json.dumps(values))


def test_what_was_measured_is_not_told_as_not_applicable():
    values = Run(rows=WHOLE, skipped={"autoattack": FEW}).entry().model_dump(mode="json")
    values["not_applicable"][0]["row"] = "pgd"
    with pytest.raises(ValueError, match="'pgd' is not applicable and has been measured"):
        Entry.model_validate_json(json.dumps(values))


def test_a_column_that_the_protocol_does_not_have_is_no_gap():
    entry = Run(rows=deterministic(clean="11", pgd="10")).entry()
    assert entry.columns.transfer is None
    assert entry.status == "complete"


def test_nothing_planned_is_refused():
    run = Run(rows=deterministic(clean="11"), skipped={"clean": Missing(Why.FAILED, "no images")})
    with pytest.raises(BenchError, match=r"could plan none \(no images\)"):
        run.entry()
