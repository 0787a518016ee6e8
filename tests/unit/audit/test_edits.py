"""Forged entries: what follows from the rest is made anew, so that no edit of it passes."""

from __future__ import annotations

import json
import re

import pytest

from benchmark.audit.replan import all_problems_of
from benchmark.records.entry import Entry
from benchmark.records.entry_parts import Columns, Undefended
from benchmark.records.rates import Cost
from benchmark.scoring.derived import derived, protocol_of
from benchmark.scoring.validation import problems_of
from tests.edits import is_noticed, plans, sampled, table
from tests.helpers.planned import Plan

FEW = 12
"""Edits of one entry that the fast tests try."""
ENTRIES = {name: plan.entry() for name, plan in plans().items()}


@pytest.mark.parametrize("name", ENTRIES)
def test_an_entry_as_it_was_planned_has_no_problem(name):
    assert all_problems_of(ENTRIES[name]) == []


@pytest.mark.parametrize("name", ENTRIES)
def test_whatever_is_derived_can_be_blanked_and_comes_out_the_same(name):
    entry = ENTRIES[name]
    nothing = {"rates": None, "outcomes": (), "margins": ()}
    images = {"clean": (), "worst": (), "chosen": (), "choices": None}
    blank = entry.model_copy(
        update={
            "status": "complete",
            "gaps": (),
            "preliminary": not entry.preliminary,
            "clean": None,
            "worst": None,
            "columns": Columns(**dict.fromkeys(Columns.model_fields)),
            "undefended": Undefended(clean=None, oblivious=None),
            "flags": (),
            "cost": Cost(forwards_per_image=0, backwards_per_image=0, seconds_per_image=0),
            "attacks": tuple(row.model_copy(update=nothing) for row in entry.attacks),
            "sources": tuple(row.model_copy(update=nothing) for row in entry.sources),
            "diagnosis": tuple(
                row.model_copy(update={"rate": None, "outcomes": ()}) for row in entry.diagnosis
            ),
            "eps_curve": (),
            "per_image": entry.per_image.model_copy(update=images),
            "stand_ins": (),
        }
    )
    assert derived(blank, protocol_of(entry)) == entry


@pytest.mark.parametrize("name", ENTRIES)
def test_every_edit_of_a_derived_value_is_noticed(name):
    found = [edit for edit in sampled(ENTRIES[name], 5 * FEW) if edit.is_derived][:FEW]
    assert len(found) > FEW // 2
    assert [f"{edit.place}: {edit.kind}" for edit in found if not is_noticed(edit.values)] == []


@pytest.mark.slow
def test_every_edit_of_every_entry_is_noticed_where_derived_and_most_elsewhere():
    said = table(340)
    print(said)
    counts = re.findall(r"^(\w+) +all +(\d+) of +(\d+)", said, re.MULTILINE)
    (derived_ones, measured) = ((int(a), int(b)) for _, a, b in counts)
    assert derived_ones[0] == derived_ones[1] > 500
    assert measured[0] > 0.85 * measured[1]


def edited(entry: Entry, change) -> Entry:
    values = entry.model_dump(mode="json")
    change(values)
    return Entry.model_validate_json(json.dumps(values))


def without_white_box(values):
    """Leaves out every white-box row, and makes all else as if they had never been."""
    values["attacks"] = [row for row in values["attacks"] if row["knowledge"] != "white-box"]
    values["diagnosis"] = values["eps_curve"] = []
    for name in ("autoattack", "adaptive", "auxiliary"):
        values["columns"][name] = None


def derived_anew(values) -> Entry:
    """An entry whose derived values fit what it says now, whatever that is."""
    entry = Entry.model_construct(
        **{name: getattr(Entry.model_validate_json(json.dumps(values)), name) for name in values}
    )
    return derived(entry, None)


def test_an_entry_without_its_white_box_rows_is_not_valid_however_well_it_adds_up():
    values = Plan().entry().model_dump(mode="json")
    for name in ("clean", "worst"):
        values[name] = None
        values["per_image"][name] = []
    values["per_image"]["chosen"] = []
    values["flags"] = []
    without_white_box(values)
    forged = derived_anew(values)
    found = problems_of(forged)
    assert any("row pgd:bpda of protocol 'quick' is neither measured" in line for line in found)
    assert any("row autoattack" in line for line in found)


def test_a_name_that_ships_has_the_content_of_a_published_version():
    other = Plan(protocol=plans()["own protocol"].protocol.model_copy(update={"name": "quick"}))
    found = problems_of(other.entry())
    assert any("never was one of sha256" in line for line in found), found


def test_a_protocol_of_ones_own_stands_in_the_entry_and_binds_it():
    entry = ENTRIES["own protocol"]
    assert protocol_of(entry).sha256() == entry.protocol.sha256

    def weakened(values):
        values["protocol"]["content"]["attacks"][2]["arguments"]["steps"] = 1

    def dropped(values):
        values["protocol"]["content"] = None

    for change, said in ((weakened, "nothing binds its rows"), (dropped, "nothing binds its rows")):
        found = problems_of(edited(entry, change))
        assert any(said in line for line in found), found


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("--samples 6", "--samples 60", "--samples is 60, and the entry says 6"),
        ("--seed 0", "--seed 1", "--seed is 1, and the entry says 0"),
        ("--defense jpeg", "--defense gaussian", "--defense names"),
        ("--model digits-cnn", "--model digits-mlp", "--model is digits-mlp"),
        ("--dataset digits", "--dataset mnist", "--dataset is mnist"),
        ("linf:0.15", "linf:0.1", "--threat is linf:0.1"),
        ("--protocol quick", "--protocol full", "--protocol is full"),
        ("bench run", "bench  run", "is not as bench run writes it"),
        ("--seed 0", "--seed 0 --defense-arg quality=1", "quality of"),
        ("--seed 0", "--seed 0 --order robustbench", "--order is robustbench"),
        ("--seed 0", "--seed 0 --precision float64", "--precision is float64"),
        ("bench run", "rm -rf", "command"),
    ],
)
def test_what_a_command_says_the_fields_say(old, new, said):
    entry = ENTRIES["deterministic"]
    assert old in entry.command
    other = entry.model_copy(update={"command": entry.command.replace(old, new)})
    found = all_problems_of(other)
    assert any(said in line for line in found), found


def test_labels_and_indices_are_those_of_the_dataset():
    def relabelled(values):
        values["per_image"]["labels"][0] += 1

    found = all_problems_of(edited(ENTRIES["deterministic"], relabelled))
    assert any("per_image.labels are not those of digits" in line for line in found), found


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda row: row["cost"].update(forwards_per_image=1e6), "its attack makes up to"),
        (lambda row: row["arguments"].update(steps=41), "steps=40, and it had 41"),
        (lambda row: row["arguments"].update(restarts=7), "arguments is"),
        (lambda row: row.update(eot=3), "eot=1, and it had 3"),
        (lambda row: row.update(gradient="exact"), "gradient=bpda, and it had exact"),
        (lambda row: row.update(counts=False), "counts=True, and it had False"),
        (
            lambda row: row.update(knowledge="black-box"),
            "knowledge=white-box, and it had black-box",
        ),
        (lambda row: row.update(trace=[0.123456]), "no shares of"),
        (lambda row: row.update(plugin="attacks.fgsm:FGSM"), "plugin is"),
    ],
)
def test_a_row_is_as_its_protocol_plans_it(change, said):
    def one(values):
        change(next(row for row in values["attacks"] if row["id"] == "pgd:bpda"))

    found = all_problems_of(edited(ENTRIES["deterministic"], one))
    assert any(said in line for line in found), found


@pytest.mark.parametrize(
    ("rule", "change", "said"),
    [
        ("single", {"rates": 0.33}, "is no share of 80 draws"),
        ("single", {"outcomes": "111"}, "has 3 outcomes, and 20 were asked for"),
        ("single", {"rates": 1.0, "margins": -1.0}, "does not go with a rate of 1.0"),
        ("single", {"rates": 0.0, "margins": -1.0}, "too few for its rate of"),
        ("single", {"margins": 0.1234567}, "is not as an entry keeps one"),
    ],
)
def test_scores_are_such_as_an_evaluation_gives(rule, change, said):
    def one(values):
        scored = values["attacks"][0]["scores"][rule]
        for name, value in change.items():
            scored[name][0] = value

    found = problems_of(edited(ENTRIES["random"], one))
    assert any(said in line for line in found), found
