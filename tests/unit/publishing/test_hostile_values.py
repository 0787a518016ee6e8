"""Hostile text: YAML bombs, numbers without end, names with markup, separators and tricks of writing."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark.cli import main
from benchmark.engine.arguments import refuse_arguments
from benchmark.errors import BenchError
from benchmark.evaluation.prepare.request import parse_arguments
from benchmark.files.parsing import read_yaml
from benchmark.files.weights import file_name as weights_name
from benchmark.publishing.leaderboard.escaping import LONGEST, file_name
from benchmark.publishing.leaderboard.publish import entry_path, publish_folder
from benchmark.records.entry_files import read_entry, write_entry
from benchmark.records.protocol_files import parse_protocol
from defenses.gaussian import Gaussian
from tests.helpers.malicious_plugins import one_line
from tests.helpers.sample_entries import cells, toy
from tests.helpers.tiny_task import PROTOCOL

LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join([f'*{chr(97 + i)}'] * 9)}]\n" for i in range(9)
)
BAD_YAML = {
    "billion laughs": LAUGHS,
    "an alias": "[&a 1, *a]",
    "deep lists": "[" * 50_000,
    "deep mappings": "{a: " * 5_000,
    "deep indents": "".join(" " * i + "-\n" for i in range(100)),
    "an object": "!!python/object/apply:os.system [exit]",
    "bytes": "!!binary aGk=",
    "nan": ".nan",
    "infinity": "-.inf",
    "an overflow": "1e999",
    "a huge integer": "9" * 5_000,
    "beyond 64 bits": "[1, 99999999999999999999]",
    "a key twice": "{a: 1, b: 2, a: 3}",
    "a list as key": "{[1]: 2}",
    "two documents": "1\n---\n2",
    "a NUL": "a\0b",
    "unfinished": "[1",
    "too long": " " * 300_000,
}
NAMES = [
    "../../x",
    "/etc/passwd",
    "..",
    "<script>alert(1)</script>",
    "a|b",
    "a\nb",
    "a\r\n| 1 | 2 |",
    "a\0b",
    "x" * 300,
    "\u202egpj.exe",
    "CON",
    "nul.json",
    "com1",
    "-rf",
    "--",
    " ",
    "~/x",
    "$(touch x)",
    "a\x1b[31mb",
    "\ufeffa",
    "a\\b",
    "é" * 90,
]


@pytest.mark.parametrize("kind", BAD_YAML)
def test_hostile_yaml_is_one_line_in_protocols_and_in_arguments(kind):
    text = BAD_YAML[kind]
    with pytest.raises(BenchError) as caught:
        parse_arguments([f"k={text}"])
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500
    with pytest.raises(BenchError) as caught:
        parse_protocol(PROTOCOL + f"\nextra: {text}\n".encode(), where="it.yaml")
    assert "\n" not in str(caught.value)
    assert "it.yaml" in str(caught.value)


def test_values_are_what_they_look_like():
    told = ["a=4", "b=.25", "c=1e-3", "d=true", "e=rt2", "f=[1, x]", "g=2020-01-01", "h=no", "i=~"]
    assert parse_arguments(told) == {
        "a": 4,
        "b": 0.25,
        "c": 0.001,
        "d": True,
        "e": "rt2",
        "f": [1, "x"],
        "g": "2020-01-01",
        "h": "no",
        "i": None,
    }


def test_an_argument_given_twice_is_refused():
    with pytest.raises(BenchError, match="'sigma' is given twice"):
        parse_arguments(["sigma=1", "sigma=2"])


@given(st.text(max_size=60))
@settings(max_examples=300, deadline=None)
def test_any_text_is_read_as_a_plain_value_or_refused_in_one_line(text):
    try:
        said = json.dumps(read_yaml(text, where="it"), allow_nan=False)
    except BenchError as error:
        said = str(error)
    assert "\n" not in said


@pytest.mark.parametrize("value", [float("nan"), float("inf"), [0.1, float("nan")]])
def test_numbers_without_end_are_refused_from_python_too(value):
    with pytest.raises(BenchError, match="finite"):
        refuse_arguments({"sigma": value}, Gaussian, what="defense 'gaussian'")


@pytest.mark.parametrize("name", NAMES)
def test_a_hostile_name_stays_in_its_folder_and_its_cell(name, tmp_path):
    entry = toy(name, model=name, dataset=name)
    path = entry_path(tmp_path, entry)
    assert len(path.relative_to(tmp_path).parts) == 3
    for part in path.relative_to(tmp_path).parts:
        assert len(part.encode()) <= 255
        assert not part.startswith((".", "-"))
        assert part.partition(".")[0].lower() not in ("con", "nul", "com1", "aux", "prn")
    write_entry(entry, path)
    assert read_entry(path) == entry
    page = publish_folder(path.parent).page.read_text()
    rows = cells(page)
    assert len({len(row) for row in rows}) == 1
    assert not {"\x1b", "\u202e", "\0"} & set(page)
    assert "<script" not in page
    assert sum(1 for _ in tmp_path.rglob("*")) == 4


@pytest.mark.parametrize("name", NAMES)
def test_a_weights_file_of_a_hostile_name_stays_in_its_folder(name):
    made = weights_name(label=name, classifier=name, dataset=name)
    assert "/" not in made
    assert "\0" not in made
    assert len(f"{made}.part-checkpoint") <= 255


def test_the_longest_names_fit_a_file_system_and_stay_distinct(tmp_path):
    paths = set()
    for end in "ab":
        label = "l" * 400 + end
        entry = toy(label, model="m" * 400, dataset="d" * 400, protocol="p" * 400, samples=512)
        path = entry_path(tmp_path, entry)
        write_entry(entry, path)
        again = path.with_name(f"{path.stem}--{'0' * 8}.json")  # what a clash would be called
        assert len(again.name) <= 255
        paths.add(path)
    assert len(paths) == 2


@given(st.text(alphabet="ab-._C/é", min_size=LONGEST - 4, max_size=LONGEST + 4), st.data())
@settings(max_examples=100, deadline=None)
def test_names_as_long_as_the_limit_stay_apart_and_well_formed(text, data):
    other = text + data.draw(st.sampled_from(["-", ".", "a", "/"]))
    assert file_name(text) != file_name(other)
    assert "--" not in file_name(text)


@pytest.mark.parametrize("word", ["npz:\udcff.npz", "a\0b"])
def test_an_argument_that_is_no_text_is_one_line(word, capfd):
    assert main(["run", "--dataset", word]) == 2
    assert "is no text" in one_line(capfd.readouterr().err)


def test_an_error_that_quotes_control_characters_shows_none(capfd):
    assert main(["run", "--defense", "\x1b[31mred\x07"]) == 2
    assert not {"\x1b", "\x07"} & set(one_line(capfd.readouterr().err))
