"""Protocols: what ships is valid, what is wrong is refused in one line."""

import pytest

from benchmark.errors import BenchError
from benchmark.files.parsing import MAX_CHARACTERS
from benchmark.records.protocol_files import load_protocol, parse_protocol, protocol_names

GOOD = b"""
name: mine
version: 1
summary: two attacks
attacks:
  - {id: clean, column: clean, knowledge: oblivious, attack: clean}
  - {id: pgd, column: adaptive, knowledge: white-box, attack: pgd, gradients: [exact]}
"""


def test_quick_standard_and_full_ship_and_have_every_family():
    assert {"quick", "standard", "full"} <= set(protocol_names())
    for name in ("quick", "standard", "full"):
        columns = {row.column.value for row in load_protocol(name).attacks}
        families = {"oblivious", "autoattack", "adaptive", "auxiliary", "transfer", "black-box"}
        assert columns == {"clean", *families, "known-draw"}


def test_standard_meets_stochastic_victims_with_200_steps_and_eot_20():
    rows = [row for row in load_protocol("standard").attacks if row.arguments.get("steps") == 200]
    assert rows
    assert all(row.eot == 20 and row.arguments["random_start"] is False for row in rows)


def test_autoattack_never_enters_the_worst_case_of_a_stochastic_victim():
    for name in protocol_names():
        rows = [row for row in load_protocol(name).attacks if row.attack == "autoattack"]
        assert rows or name not in ("quick", "standard", "full")
        assert all(row.counts == "deterministic" for row in rows)


def test_a_protocol_is_told_apart_by_its_content():
    assert parse_protocol(GOOD, where="x").sha256() != load_protocol("quick").sha256()
    assert (
        parse_protocol(GOOD, where="x").sha256()
        == parse_protocol(GOOD + b"\n# note", where="y").sha256()
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ((b"version: 1", b"version: 0"), "version"),
        ((b"attack: pgd", b"atack: pgd"), "attack"),
        ((b"id: pgd", b"id: clean"), "more than once"),
        ((b"column: clean", b"column: adaptive"), "no attack has the column 'clean'"),
        ((b"gradients: [exact]", b"sources: [nobody]"), "names no source"),
        ((b"gradients: [exact]", b"eot: 0"), "eot"),
        ((b"name: mine", b"name: ../mine"), "name"),
        ((b"name: mine", b"name: [mine"), "not plain YAML"),
    ],
)
def test_what_no_protocol_may_say_is_refused_in_one_line(change, message):
    with pytest.raises(BenchError, match=message) as caught:
        parse_protocol(GOOD.replace(*change), where="file.yaml")
    assert "file.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_yaml_bomb_and_a_huge_file_are_refused():
    bomb = b"a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n"
    with pytest.raises(BenchError, match="aliases"):
        parse_protocol(bomb, where="bomb.yaml")
    with pytest.raises(BenchError, match="at most"):
        parse_protocol(b"#" * (MAX_CHARACTERS + 1), where="huge.yaml")


def test_a_name_nobody_has_gets_a_suggestion_and_a_missing_file_is_named():
    with pytest.raises(BenchError, match="Did you mean 'quick'"):
        load_protocol("quik")
    with pytest.raises(BenchError, match=r"no protocol file at 'nowhere\.yaml'"):
        load_protocol("nowhere.yaml")
