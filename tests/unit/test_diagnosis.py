"""Diagnoses: planned beside the ranked rows, on the first images alone, and in no ranked number."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from benchmark.defense import Derivative
from benchmark.errors import BenchError
from benchmark.protocol import Diagnosis, load_protocol, parse_protocol, protocol_names
from benchmark.publishing.entry import without_timing
from benchmark.publishing.entry_files import entry_text, read_entry, write_entry
from benchmark.publishing.leaderboard import boards, to_markdown, to_text
from benchmark.publishing.marks import NO_DIAGNOSIS
from benchmark.results import Status
from benchmark.running.diagnosis import curve_of
from benchmark.running.plan import make_plan
from benchmark.running.prepared import prepare
from benchmark.running.run import subjects_of
from benchmark.running.scheduler import tasks_of
from benchmark.threat import Threat
from tests import tiny
from tests.boards import cells
from tests.records import WHOLE, Run, Varied, deterministic

BOARDS = Path(__file__).resolve().parents[2] / "leaderboards"
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

    class Stage(tiny.Noise):
        pass

    Stage.gradient = gradient
    subjects = replace(subjects_of(ready), defenses=[Stage()], is_stochastic=is_stochastic)
    rows, _ = make_plan(made, subjects)
    assert len({row.id for row in rows}) == len(rows)
    return {row.id: row for row in rows}


def diagnosed(rows):
    return {name: row for name, row in rows.items() if row.diagnosis}


def test_without_a_diagnosis_a_plan_is_what_it_was(tmp_path):
    plain, _ = make_plan(
        tiny.protocol(), subjects_of(prepare(tiny.request(tmp_path, protocol=tiny.protocol())))
    )
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
        names = ("attack", "eot", "threat", "gradient", "criterion", "seed", "classifier", "needs")
        return {field for field in names if getattr(job, field) != getattr(base, field)}, job

    names, job = changed("diagnosis-steps:exact")
    assert names == {"attack"}
    arguments = json.loads(base.attack.arguments)
    assert json.loads(job.attack.arguments) == {**arguments, "steps": 2 * arguments["steps"]}
    names, job = changed("diagnosis-eot:exact")
    assert (names, job.eot) == ({"eot"}, 2 * base.eot)
    names, job = changed("diagnosis-eps-0.2:exact")
    assert (names, job.threat.eps) == ({"threat"}, 0.2)
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
    once = tasks_of(rows, 12, 4)
    assert tasks_of([*rows, twin], 12, 4) == once
    assert len({(task.job.key, task.start) for task in once}) == len(once)


def test_a_diagnosis_takes_the_first_images_at_the_usual_boundaries(tmp_path):
    rows = planned(tmp_path, **ALL)
    tasks = tasks_of(list(rows.values()), 12, 4)
    spans = [(t.start, t.stop) for t in tasks if t.row.id == "diagnosis-steps:exact"]
    assert spans == [(0, 4), (4, 6)]
    assert [(t.start, t.stop) for t in tasks if t.row.id == "pgd:exact"] == [
        (0, 4),
        (4, 8),
        (8, 12),
    ]
    assert [(t.start, t.stop) for t in tasks_of(list(rows.values()), 3, 4)][-1] == (0, 3)


@pytest.mark.parametrize(
    ("block", "message"),
    [
        (b"diagnosis: {of: nobody}", "no attack of this protocol: 'nobody'"),
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


def test_committed_entries_are_of_the_protocols_that_ship_and_have_no_diagnosis_or_a_whole_one():
    shipped = {name: load_protocol(name).sha256() for name in protocol_names()}
    entries = [read_entry(path) for path in sorted(BOARDS.glob("*/*/*.json"))]
    assert entries
    for entry in entries:
        assert entry.protocol.sha256 == shipped[entry.protocol.name]
        assert not entry.diagnosis or entry.eps_curve


def test_quick_and_standard_ask_for_every_diagnosis():
    for name in ("quick", "standard"):
        asked = load_protocol(name).diagnosis
        assert asked.doubled == ["steps", "eot"]
        assert asked.curve
        assert asked.points
        assert asked.frozen
        assert asked.examined >= 8


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
