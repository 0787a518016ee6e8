"""Example images: which are shown, by rule, and whether they agree with their entry."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from benchmark.evaluation.execute.examples import fallen, held
from benchmark.records.entry import Entry, without_timing
from benchmark.records.entry_files import entry_text
from benchmark.records.entry_parts import PerImage
from benchmark.records.examples import MOST
from benchmark.scoring.validation import problems_of
from tests.helpers.entry_with_examples import FALLEN, pictured
from tests.helpers.run_builder import WHOLE, Run


def images(clean, worst, chosen):
    n = len(clean)
    return PerImage(
        indices=tuple(range(n)),
        labels=(0,) * n,
        clean=tuple(clean),
        worst=tuple(worst),
        chosen=tuple(chosen),
    )


def test_an_image_that_was_wrong_when_clean_neither_fell_nor_held():
    found = images("0011", "0110", ["pgd"] * 4)
    assert fallen(found) == [3]
    assert held(found, {"clean"}) == [2]


def test_the_first_draw_decides_what_is_shown_of_a_random_victim():
    found = images(["10", "01", "11", "11"], ["01", "00", "01", "10"], ["pgd"] * 4)
    assert fallen(found) == [0, 2]
    assert held(found, {"clean"}) == [3]


def test_an_image_that_no_attack_came_near_to_is_not_shown_as_one_that_held():
    assert held(images("11", "11", ["clean", "pgd"]), {"clean"}) == [1]


def test_an_entry_without_examples_is_read_as_having_none():
    entry, _ = pictured()
    values = json.loads(entry_text(entry))
    del values["examples"]
    assert Entry.model_validate_json(json.dumps(values)).examples is None


def test_pictures_are_no_result():
    entry, _ = pictured()
    assert without_timing(entry) == without_timing(Run(rows=WHOLE).entry())


def test_examples_outlive_writing_and_reading():
    entry, _ = pictured()
    assert Entry.model_validate_json(entry_text(entry)) == entry


def tampered(**changes):
    entry, _ = pictured()
    values = json.loads(entry_text(entry))
    row = values["examples"]["rows"][1]
    for name, value in changes.items():
        place = row if name in row else values["examples"]
        assert place[name] != value
        place[name] = value
    return Entry.model_validate_json(json.dumps(values))


def said(entry):
    return [line for line in problems_of(entry) if line.startswith("examples")]


def test_examples_that_agree_with_their_entry_are_no_problem():
    assert said(pictured()[0]) == []
    assert len(FALLEN) < MOST


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"tile": [4, 4]}, "examples.tile is (4, 4), and images are (8, 8)"),
        ({"attack": "mine"}, "'mine' is no attack of the entry"),
        ({"attack": "pgd"}, "has another worst case"),
        ({"index": 99}, "image 99 is none of the entry's"),
        ({"label": 9}, "has another label"),
        ({"predicted_clean": 9}, "another clean outcome"),
        ({"predicted_adversarial": 3}, "has another worst case"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_each_way_in_which_examples_do_not_agree_with_their_entry_is_named(changes, problem):
    assert any(problem in line for line in said(tampered(**changes)))


def test_the_image_of_a_challenge_may_have_come_after_the_pictures():
    entry, _ = pictured()
    chosen = tuple("challenge:1" if i == 3 else c for i, c in enumerate(entry.per_image.chosen))
    entry = entry.model_copy(
        update={"per_image": entry.per_image.model_copy(update={"chosen": chosen})}
    )
    assert said(entry) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"sha256": "../../etc/passwd"},
        {"tile": [0, 8]},
        {"tile": [100_000, 100_000]},
        {"gap": 65},
        {"scale": 0},
        {"columns": ["clean", "clean", "change"]},
        {"columns": ["clean"]},
        {"rows": []},
    ],
    ids=str,
)
def test_what_no_sheet_can_be_is_refused_when_it_is_read(changes):
    with pytest.raises(ValidationError):
        tampered(**changes)
