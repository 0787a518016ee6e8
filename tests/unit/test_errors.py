"""Suggestions: which name is meant by one that nobody has."""

import pytest

from benchmark.errors import near, quoted, unknown
from benchmark.plugins import ATTACKS, DATASETS, DEFENSES


@pytest.mark.parametrize("registry", [DEFENSES, ATTACKS, DATASETS], ids=lambda r: r.kind)
def test_a_name_in_another_case_or_with_other_separators_is_the_only_suggestion(registry):
    for name in registry.names():
        assert near(name.upper(), registry.names()) == [name]
        assert near(name.replace("-", "_").title(), registry.names()) == [name]


@pytest.mark.parametrize("registry", [DEFENSES, ATTACKS, DATASETS], ids=lambda r: r.kind)
def test_two_neighbours_the_wrong_way_round_still_suggest_the_name(registry):
    for name in registry.names():
        for i in range(len(name) - 1):
            assert name in near(
                f"{name[:i]}{name[i + 1]}{name[i]}{name[i + 2 :]}", registry.names()
            )


def test_letters_far_apart_that_changed_places_still_suggest_the_name():
    assert near("apot", DEFENSES.names())[0] == "atop"


def test_a_part_of_a_name_suggests_it():
    assert near("unlabeled", ["Carmon2019Unlabeled", "Standard"]) == ["Carmon2019Unlabeled"]


@pytest.mark.parametrize("name", ["", "xyzzy", "-", "日本語"])
def test_what_is_like_nothing_suggests_nothing(name):
    assert near(name, DEFENSES.names()) == []


def test_an_endless_name_is_cut_in_the_message():
    assert len(quoted("a" * 100_000)) < 100
    assert len(str(unknown("defense", "a" * 100_000, ["none"]))) < 200
