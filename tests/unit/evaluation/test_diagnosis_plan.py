"""Diagnoses planned: beside the ranked rows, on the first images alone, in no protocol's identity."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from benchmark.engine.threat import Threat
from benchmark.engine.victims.defense import Derivative
from benchmark.errors import BenchError
from benchmark.evaluation.execute.shard_queue import shards_of
from benchmark.evaluation.prepare.diagnosis_plan import curve_of
from benchmark.evaluation.prepare.plan import make_plan
from benchmark.evaluation.prepare.prepare import prepare
from benchmark.records.entry_files import read_entry
from benchmark.records.protocol_files import load_protocol, parse_protocol
from benchmark.records.unranked import Diagnosis
from tests.helpers import tiny_task as tiny

BOARDS = Path(__file__).resolve().parents[3] / "leaderboards"
ALL = {
    "of": "pgd",
    "images": 6,
    "curve": [0.5, 2],
    "points": 3,
    "frozen": True,
    "examined": 4,
}


def protocol(**asked):
    return tiny.protocol().model_copy(update={"diagnosis": Diagnosis(**{"of": "pgd", **asked})})


def planned(tmp_path, *, gradient=Derivative.EXACT, is_stochastic=True, **asked):
    """Every row of the plan, by its id."""
    made = protocol(**asked)
    ready = prepare(tiny.request(tmp_path, protocol=made))
    rows, _ = make_plan(replace(ready, gradient=gradient, is_stochastic=is_stochastic))
    assert len({row.id for row in rows}) == len(rows)
    return {row.id: row for row in rows}


def diagnosed(rows):
    return {name: row for name, row in rows.items() if row.diagnosis}


def test_without_a_diagnosis_a_plan_is_what_it_was(tmp_path):
    plain, _ = make_plan(prepare(tiny.request(tmp_path, protocol=tiny.protocol())))
    rows = planned(tmp_path, **ALL)
    assert [row.job.key for row in plain] == [row.job.key for row in rows.values()][: len(plain)]
    assert len(diagnosed(rows)) == len(rows) - len(plain)


def test_of_a_random_victim_everything_that_is_asked_for_is_planned(tmp_path):
    rows = diagnosed(planned(tmp_path, **ALL))
    assert list(rows) == [
        "diagnosis-steps:exact",
        "diagnosis-eot:exact",
        "diagnosis-eps-0.05:exact",
        "diagnosis-eps-0.2:exact",
        "diagnosis-eps-0.5:exact",
        "diagnosis-frozen:exact",
        "diagnosis-noise",
    ]
    for row in rows.values():
        assert (row.column, row.counts) == (None, False)
        assert (row.diagnosis.of, row.diagnosis.images) == ("pgd:exact", 6)


def test_each_variation_changes_one_thing(tmp_path):
    rows = planned(tmp_path, **ALL)
    base = rows["pgd:exact"].job

    def changed(name):
        job = rows[name].job
        names = ("task", "attack", "eot", "gradient", "criterion", "classifier", "needs")
        return {field for field in names if getattr(job, field) != getattr(base, field)}, job

    names, job = changed("diagnosis-steps:exact")
    assert names == {"attack"}
    arguments = json.loads(base.attack.arguments)
    assert json.loads(job.attack.arguments) == {**arguments, "steps": 2 * arguments["steps"]}
    names, job = changed("diagnosis-eot:exact")
    assert (names, job.eot) == ({"eot"}, 2 * base.eot)
    names, job = changed("diagnosis-eps-0.2:exact")
    assert (names, job.task.threat.eps) == ({"task"}, 0.2)
    assert replace(job.task, threat=base.task.threat) == base.task
    assert changed("diagnosis-frozen:exact")[1].attack.label == "frozen-draw"
    assert changed("diagnosis-noise")[1].attack.label == "random-points"


def test_of_a_deterministic_victim_nothing_random_is_planned(tmp_path):
    rows = diagnosed(planned(tmp_path, is_stochastic=False, **ALL))
    assert not [name for name in rows if "eot" in name or "frozen" in name]
    assert "diagnosis-steps:exact" in rows


@pytest.mark.parametrize(
    ("gradient", "modes"),
    [
        (Derivative.EXACT, {"exact"}),
        (Derivative.ALMOST_EVERYWHERE, {"exact", "bpda"}),
        (Derivative.NONE, {"bpda"}),
    ],
)
def test_the_best_gradient_is_varied_and_both_where_one_may_hide_things(tmp_path, gradient, modes):
    rows = diagnosed(planned(tmp_path, gradient=gradient, **ALL))
    assert {row.job.gradient for name, row in rows.items() if "steps" in name} == modes
    assert sum(name == "diagnosis-noise" for name in rows) == 1


def test_what_is_not_asked_for_is_not_planned(tmp_path):
    assert not diagnosed(planned(tmp_path, doubled=[]))
    assert list(diagnosed(planned(tmp_path, doubled=["eot"]))) == ["diagnosis-eot:exact"]


@pytest.mark.parametrize(
    ("threat", "multiples", "expected"),
    [
        ("linf:0.1", [2, 0.5, 1, 20], [0.05, 0.2, 0.5]),
        ("linf:0.1", [5], [0.5]),
        ("linf:0.5", [0.5, 2], [0.25]),
        ("linf:0.6", [0.5], [0.3, 0.5]),
        ("l2:1", [2, 4], [2.0, 3.0]),
    ],
)
def test_a_curve_ends_where_every_image_can_be_grey_and_leaves_out_the_threats_own_budget(
    threat, multiples, expected
):
    found = curve_of(Threat.parse(threat), multiples, (1, 6, 6))  # l2: half of the root of 36
    assert found == pytest.approx(expected)


def test_a_job_that_a_ranked_row_has_too_is_done_once_for_both(tmp_path):
    rows = list(planned(tmp_path, **ALL).values())
    twin = replace(rows[-1], id="twin", job=next(r for r in rows if r.id == "pgd:exact").job)
    once = shards_of(rows, 12, 4)
    assert shards_of([*rows, twin], 12, 4) == once
    assert len({(task.job.key, task.start) for task in once}) == len(once)


def test_a_diagnosis_takes_the_first_images_at_the_usual_boundaries(tmp_path):
    rows = planned(tmp_path, **ALL)
    tasks = shards_of(list(rows.values()), 12, 4)
    spans = [(t.start, t.stop) for t in tasks if t.row.id == "diagnosis-steps:exact"]
    assert spans == [(0, 4), (4, 6)]
    assert [(t.start, t.stop) for t in tasks if t.row.id == "pgd:exact"] == [
        (0, 4),
        (4, 8),
        (8, 12),
    ]
    assert [(t.start, t.stop) for t in shards_of(list(rows.values()), 3, 4)][-1] == (0, 3)


@pytest.mark.parametrize(
    ("block", "message"),
    [
        (b"diagnosis: {of: nobody}", "no attack of this protocol at unknown draws: 'nobody'"),
        (b"diagnosis: {of: pgd, images: 1}", "images"),
        (b"diagnosis: {of: pgd, curve: [0]}", "curve"),
        (b"diagnosis: {of: pgd, doubled: [eps]}", "doubled"),
        (b"diagnosis: {of: pgd, surprise: 1}", "surprise"),
    ],
)
def test_a_block_that_makes_no_sense_is_refused_in_one_line(block, message):
    with pytest.raises(BenchError, match=message):
        parse_protocol(tiny.PROTOCOL + block, where="x")


def test_a_diagnosis_changes_no_protocols_identity_and_an_attack_does():
    plain = tiny.protocol()
    assert protocol(**ALL).sha256() == plain.sha256()
    assert plain.model_copy(update={"shard_size": 5}).sha256() != plain.sha256()


def test_committed_entries_have_no_diagnosis_or_a_whole_one():
    entries = [read_entry(path) for path in sorted(BOARDS.glob("*/*/*.json"))]
    assert entries
    for entry in entries:
        assert not entry.diagnosis or entry.eps_curve


def test_quick_and_standard_ask_for_every_diagnosis():
    for name in ("quick", "standard"):
        asked = load_protocol(name).diagnosis
        assert asked.doubled == ["steps", "eot"]
        assert asked.curve
        assert asked.points
        assert asked.frozen
        assert asked.examined >= 8
