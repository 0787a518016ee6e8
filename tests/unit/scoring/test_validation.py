"""Validating entries: those of the project pass; each way of making one look better than it is does not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmark.cli import main
from benchmark.records.entry import Entry
from benchmark.records.entry_files import write_entry
from benchmark.scoring.validation import notes_of, problems_of
from tests.helpers.run_builder import Run
from tests.helpers.sample_entries import toy

BOARDS = Path(__file__).resolve().parents[3] / "leaderboards"
DIGITS = BOARDS / "digits" / "linf-0.15"
FIXED = DIGITS / "advae[digits]--digits-cnn--n40.json"
RANDOM = DIGITS / "atop[digits]--digits-cnn--n40.json"


def tampered(path, change):
    values = json.loads(path.read_text())
    change(values)
    return Entry.model_validate_json(json.dumps(values))


def attack(values, column="adaptive"):
    return next(row for row in values["attacks"] if row["column"] == column)


ALL = {"value": 1.0, "low": 0.9124, "high": 1.0}


def lift(values):
    """Says that every image withstood, in the worst case alone, with a fitting mean and interval."""
    images = values["per_image"]
    images["worst"] = ["1" * len(bits) for bits in images["worst"]]
    images["choices"] = None
    values["worst"]["single"] = ALL


def lift_rows(values):
    """The same for a column and its rows, so that they agree with each other."""
    for row in values["attacks"]:
        if row["column"] == "adaptive":
            row["outcomes"] = ["1" * len(bits) for bits in row["outcomes"]]
            row["rates"]["single"] = ALL


def set_to(*path, value):
    def change(values):
        place = values
        for key in path[:-1]:
            place = place[key]
        assert place[path[-1]] != value
        place[path[-1]] = value

    return change


@pytest.mark.parametrize("path", sorted(DIGITS.glob("*.json")), ids=lambda path: path.stem)
def test_published_entries_agree_with_themselves(path):
    assert problems_of(tampered(path, lambda values: None)) == []


@pytest.mark.parametrize("path", [FIXED, RANDOM], ids=["fixed", "random"])
@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lift, "its worst case is not what"),
        (lift_rows, "column adaptive: "),
        (set_to("worst", "single", "low", value=0.0), "worst: the interval 0.0000 to"),
        (set_to("columns", "transfer", "rates", "single", value=ALL), "column transfer: "),
        (set_to("dataset", "indices_sha256", value="0" * 64), "is not that of per_image.indices"),
        (set_to("classifier", "sha256", value="none"), "classifier.sha256 is no sha256 in hex"),
        (
            set_to("defense", "stages", 0, "weights_sha256", value="x"),
            "weights_sha256 is no sha256",
        ),
        (set_to("dataset", "pixels_sha256", value=""), "pixels_sha256 is no sha256"),
        (set_to("threat", "eps", value=0.1), "threat.text says linf:0.15, its fields linf 0.1"),
        (set_to("threat", "text", value="linf:200"), "threat.text: "),
        (set_to("command", value="rm -rf x"), "command is no bench run"),
        (set_to("command", value="bench run 'x"), "command cannot be read"),
        (set_to("flags", value=[]), "flag convergence is missing, and its entry raises it"),
        (
            set_to("flags", 0, "verdict", value="raised"),
            "flag transfer-beats-white-box says raised",
        ),
        (set_to("flags", 0, "id", value="mine"), "flag mine is none that is known"),
        (set_to("cost", "seconds_per_image", value=0.001), "cost.seconds_per_image is 0.001"),
        (set_to("per_image", "chosen", 0, value="autoattack"), "its worst case"),
    ],
)
def test_each_way_of_making_an_entry_look_better_is_named(path, change, problem):
    if path == FIXED and problem == "its worst case":
        pytest.skip("there it may be true: AutoAttack counts on a fixed victim")
    found = problems_of(tampered(path, change))
    assert any(problem in line for line in found), found


def test_a_fixed_victim_withstands_no_more_than_its_worst_row():
    def change(values):
        images = values["per_image"]
        at = images["worst"].index("1")
        row = attack(values)
        row["outcomes"][at] = "0"
        row["rates"]["single"]["value"] -= 1 / 40

    found = problems_of(tampered(FIXED, change))
    assert any(
        "withstood in the worst case, but not under pgd" in line or "fgsm" in line for line in found
    )


def left_out(row, *, said=None):
    """Takes a row and its column's value out of an entry, and says what is said of it instead."""

    def change(values):
        (found,) = [each for each in values["attacks"] if each["id"] == row]
        values["attacks"].remove(found)
        values["columns"][found["column"]] = None
        values["not_applicable"] = [{"row": row, "column": found["column"], **said}] if said else []

    return change


FEW = {"why": "too-few-classes", "reason": "it needs more classes"}


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (left_out("transfer"), "row transfer of protocol 'standard' is neither measured nor said"),
        (left_out("transfer", said=FEW), "transfer is applicable: the task has 10 classes"),
        (
            left_out("transfer", said=FEW | {"row": "other"}),
            "other is not applicable, and no row of protocol 'standard'",
        ),
        (left_out("transfer", said=FEW | {"column": "adaptive"}), "transfer is of column transfer"),
    ],
)
def test_no_row_of_the_protocol_is_left_out_in_silence_or_under_a_pretext(change, problem):
    found = problems_of(tampered(FIXED, change))
    assert any(problem in line for line in found), found


def test_an_entry_with_gaps_may_agree_with_itself_too():
    rows = {"clean": ["1", "1", "1", "0"], "pgd": ["1", "0", "1", "0"]}
    gap = Run(rows=rows, failed=frozenset({("pgd", 0)})).entry()
    assert not any("column" in line or "worst" in line for line in problems_of(gap))


def test_an_entry_from_before_a_flag_is_noted_where_it_would_not_raise_it():
    def change(values):
        values["flags"] = [flag for flag in values["flags"] if flag["id"] != "one-step"]

    entry = tampered(FIXED, change)
    assert problems_of(entry) == []
    assert any("made before these flags" in note and "one-step" in note for note in notes_of(entry))


def test_an_entry_of_another_protocol_is_noted_and_not_refused():
    assert notes_of(toy("a", protocol="theirs")) == [
        "protocol 'theirs' does not ship with the project"
    ]
    assert not any("protocol" in note for note in notes_of(tampered(FIXED, lambda values: None)))


def test_the_command_checks_files_and_folders(tmp_path, capsys):
    good = tmp_path / "boards" / "good.json"
    good.parent.mkdir()
    for suffix in (".json", ".png"):
        good.with_suffix(suffix).write_bytes(FIXED.with_suffix(suffix).read_bytes())
    assert main(["validate", str(good.parent)]) == 0
    assert "ok" in capsys.readouterr().out
    bad = tmp_path / "boards" / "bad.json"
    write_entry(tampered(FIXED, lift), bad)
    (tmp_path / "boards" / "damaged.json").write_text("{")
    assert main(["validate", str(tmp_path / "boards"), "--json"]) == 2
    said = {Path(each["file"]).stem: each for each in json.loads(capsys.readouterr().out)}
    assert [bool(said[name]["problems"]) for name in ("good", "bad", "damaged")] == [
        False,
        True,
        True,
    ]
    assert main(["validate", str(bad)]) == 2
    out = capsys.readouterr().out
    assert out.startswith("bad")
    assert len(out.splitlines()) < 30


@pytest.mark.parametrize(
    ("words", "reason"),
    [([], "Missing argument"), (["{empty}"], "found none"), (["{empty}/x.json"], "cannot read")],
)
def test_a_mistake_is_said_and_status_2(tmp_path, capsys, words, reason):
    assert main(["validate", *(word.format(empty=tmp_path) for word in words)]) == 2
    said = capsys.readouterr()
    assert reason in said.out + said.err
