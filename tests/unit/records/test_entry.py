"""Entries: the same bytes for the same entry, a refusal for what no entry may say, and one clear line."""

import json
import math

import pytest
from pydantic import ValidationError

from benchmark.errors import BenchError
from benchmark.records.entry import Entry, json_schema, without_timing
from benchmark.records.entry_files import entry_text, read_entry, write_entry, write_schema
from tests.helpers.run_builder import WHOLE, Run

NOISY = {"clean": ["1111", "1101"], "pgd": ["1000", "0000"], "autoattack": ["0101", "0001"]}
RUNS = {
    "deterministic": Run(rows=WHOLE, sources={"made-bare:net": list("000011")}, weights="w" * 64),
    "stochastic": Run(rows=NOISY, is_stochastic=True, traces={"autoattack": (0.5,)}),
    "with a gap": Run(rows=WHOLE, failed=frozenset({("pgd", 2)})),
    "without rates": Run(rows=WHOLE, failed=frozenset({("clean", 2)})),
}


@pytest.fixture
def values():
    return Run(rows=WHOLE).entry().model_dump(mode="json")


def refusal(values, tmp_path):
    path = tmp_path / "entry.json"
    path.write_text(json.dumps(values))
    with pytest.raises(BenchError) as caught:
        read_entry(path)
    line = str(caught.value)
    assert "\n" not in line
    assert str(path) in line
    assert "move it away" in line
    return line


@pytest.mark.parametrize("run", RUNS.values(), ids=list(RUNS))
def test_an_entry_comes_back_as_it_was_and_the_same_entry_is_the_same_bytes(run, tmp_path):
    entry = run.entry()
    first, second = tmp_path / "a" / "1.json", tmp_path / "2.json"
    write_entry(entry, first)
    assert read_entry(first) == entry
    write_entry(read_entry(first), second)
    assert first.read_bytes() == second.read_bytes()
    assert first.read_bytes().endswith(b"}\n")
    assert [path.name for path in first.parent.iterdir()] == ["1.json"]


def test_the_order_in_which_arguments_were_named_changes_no_byte():
    a = Run(rows=WHOLE, arguments='{"a": {"x": 1, "y": 2}, "b": 1}').entry()
    b = Run(rows=WHOLE, arguments='{"b": 1, "a": {"y": 2, "x": 1}}').entry()
    stages = [json.loads(entry_text(entry))["defense"]["stages"] for entry in (a, b)]
    assert json.dumps(stages[0]) == json.dumps(stages[1])


def test_two_runs_differ_in_seconds_alone_and_without_timing_not_at_all():
    sources = {"made-bare:net": list("000011")}
    a, b = (Run(rows=WHOLE, sources=sources, seconds=s).entry() for s in (1.0, 7.5))
    assert a != b
    assert without_timing(a) == without_timing(b)
    assert "seconds" not in json.dumps(without_timing(a))
    kept, whole = json.dumps(without_timing(a)), json.dumps(a.model_dump(mode="json"))
    assert whole.count("per_image") - kept.count("per_image") == len(a.attacks) + len(sources) + 1


def test_the_written_schema_is_the_models_and_knows_every_field(tmp_path):
    path = write_schema(tmp_path)
    assert path == tmp_path / "schema.json"
    schema = json.loads(path.read_text())
    assert schema == json.loads(json.dumps(json_schema()))
    assert set(schema["properties"]) == set(Entry.model_fields)
    assert schema["additionalProperties"] is False


def test_numbers_are_numbers_and_images_are_one_line():
    text = entry_text(Run(rows=WHOLE).entry())
    assert '"worst": ["1", "1", "0", "0", "0", "0"]' in text
    assert isinstance(json.loads(text)["worst"]["single"]["value"], float)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe\x00",
        b"[]",
        b"null",
        b"[" * 100_000,
        b'{"schema_version": 1',
        b"1" * 9999,
    ],
    ids=["empty", "open", "binary", "list", "null", "deep", "truncated", "long number"],
)
def test_a_damaged_file_is_refused_in_one_line(content, tmp_path):
    path = tmp_path / "entry.json"
    path.write_bytes(content)
    with pytest.raises(BenchError) as caught:
        read_entry(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.9, 0.999])
def test_a_truncated_entry_is_refused(fraction, tmp_path):
    path = tmp_path / "entry.json"
    text = entry_text(Run(rows=WHOLE).entry())
    path.write_text(text[: int(len(text) * fraction)])
    with pytest.raises(BenchError, match="is no JSON"):
        read_entry(path)


def test_a_missing_file_and_a_folder_are_refused_in_one_line(tmp_path):
    for path in (tmp_path / "none.json", tmp_path):
        with pytest.raises(BenchError, match="cannot read"):
            read_entry(path)


@pytest.mark.parametrize("version", [None, 0, 3, "1", True, 1.5, 2.0, []])
def test_another_schema_is_refused(version, values, tmp_path):
    assert "schema_version 1 or 2" in refusal(values | {"schema_version": version}, tmp_path)


def test_an_unknown_field_is_refused_by_its_name(values, tmp_path):
    assert "surprise" in refusal(values | {"surprise": 1}, tmp_path)
    values["threat"]["surprise"] = 1
    assert "threat.surprise" in refusal(values, tmp_path)


def test_a_missing_field_is_refused_by_its_name(values, tmp_path):
    del values["classifier"]["sha256"]
    assert "classifier.sha256" in refusal(values, tmp_path)


@pytest.mark.parametrize("value", ["0.5", math.nan, math.inf, 1.5, -0.1, None, True])
def test_a_rate_is_a_number_between_0_and_1(value, values, tmp_path):
    values["worst"]["single"]["value"] = value
    refusal(values, tmp_path)


def test_a_number_in_quotes_is_no_number(values, tmp_path):
    values["worst"]["single"]["value"] = str(values["worst"]["single"]["value"])
    assert "worst.single.value" in refusal(values, tmp_path)


def test_not_even_arguments_hold_nan(values, tmp_path):
    values["attacks"][0]["arguments"] = {"a": [math.nan]}
    assert "NaN" in refusal(values, tmp_path)
    text = json.dumps(values).replace("NaN", "1e999")
    (tmp_path / "entry.json").write_text(text)
    with pytest.raises(BenchError, match="infinity"):
        read_entry(tmp_path / "entry.json")


def test_a_number_too_large_for_a_float_is_refused_where_no_range_says_so(values, tmp_path):
    values["flags"][0]["value"] = "huge"
    path = tmp_path / "entry.json"
    path.write_text(json.dumps(values).replace('"huge"', "1e999"))
    with pytest.raises(BenchError, match="finite number"):
        read_entry(path)


def changed(values, *path_and_value):
    *path, last, value = path_and_value
    at = values
    for part in path:
        at = at[part]
    at[last] = value


LIES = {
    "a rate that is not its outcomes'": ("worst", "single", "value", 0.3),
    "an outcome flipped": ("per_image", "worst", ["1", "1", "1", "0", "0", "0"]),
    "an image left out": ("per_image", "worst", ["1", "1", "0", "0", "0"]),
    "a label left out": ("per_image", "labels", [0, 1]),
    "complete with a gap": ("gaps", [{"row": "pgd", "column": "adaptive", "reason": "x"}]),
    "gaps without a gap": ("status", "gaps"),
    "a worst case without clean": ("clean", None),
    "an attack that is not there": ("per_image", "chosen", ["x"] * 6),
    "an incomplete column with a value": ("columns", "adaptive", "is_complete", False),
    "a gap with a value": ("attacks", 1, "status", "gap"),
    "an interval beside its value": ("clean", "vote", "low", 0.99),
    "an outcome that is neither": ("per_image", "clean", ["2"] * 6),
}


@pytest.mark.parametrize("lie", LIES.values(), ids=list(LIES))
def test_an_entry_that_contradicts_itself_is_refused(lie, values, tmp_path):
    changed(values, *lie)
    refusal(values, tmp_path)


def test_a_gap_that_is_named_nowhere_is_refused(tmp_path):
    values = Run(rows=WHOLE, failed=frozenset({("pgd", 0), ("transfer", 0)})).entry()
    dumped = values.model_dump(mode="json")
    dumped["gaps"] = dumped["gaps"][:1]
    assert "not named" in refusal(dumped, tmp_path)


def test_an_entry_cannot_be_changed_once_made():
    entry = Run(rows=WHOLE).entry()
    with pytest.raises(ValidationError):
        entry.seed = 3


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(BenchError, match="cannot write"):
        write_entry(Run(rows=WHOLE).entry(), blocked / "entry.json")
    assert blocked.read_text() == ""
