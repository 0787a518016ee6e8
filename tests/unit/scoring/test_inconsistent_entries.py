"""Entries that parse and make no sense: named in one line by whoever reads them, and no other is stopped."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest

from benchmark.cli import main
from benchmark.errors import BenchError
from benchmark.publishing.leaderboard import board_text as leaderboard
from benchmark.publishing.leaderboard import publish
from benchmark.publishing.leaderboard.board_text import to_markdown, to_text
from benchmark.publishing.leaderboard.comparison import compare
from benchmark.publishing.leaderboard.publish import entry_path, publish_folder, read_entries
from benchmark.publishing.leaderboard.tables import COLUMNS, Form, to_table
from benchmark.publishing.site import pages
from benchmark.records import entry_boundary as boundary
from benchmark.records.entry import Entry
from benchmark.records.entry_files import read_entry, write_entry
from benchmark.scoring import validation
from benchmark.scoring.validation import notes_of, problems_of
from tests.helpers.inconsistent import changed, whole
from tests.helpers.malicious_plugins import one_line
from tests.helpers.sample_entries import toy

EVERY = 41
"""One changed entry of so many is looked at."""


def put(*path, value):
    """A change of an entry's values: another value at a place, or what a function makes of the old one."""

    def change(values):
        place = values
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value(place[path[-1]]) if callable(value) else value

    return change


def twice(values):
    return [*values, values[-1]]


CONTRADICTIONS = {
    "varies 'nobody', which is no attack of the entry": put("diagnosis", 0, "of", value="nobody"),
    "diagnosis: 'diagnosis-frozen' stands there twice": put("diagnosis", value=twice),
    "attacks and sources: 'square' stands there twice": put("attacks", value=twice),
    "examination: 'constant' stands there twice": put("examination", value=twice),
    "flags: 'unlike-published' stands there twice": put("flags", value=twice),
    "column transfer: 'pgd' is no row of it": put("columns", "transfer", "rows", value=["pgd"]),
    "column transfer: it has rates, and a row of it has none": put(
        "columns", "transfer", "rows", value=[]
    ),
    "row 'made-bare:net': expected outcomes of 6 images, got 5": put(
        "sources", 0, "outcomes", value=lambda bits: bits[:-1]
    ),
    "attack 'pgd' has no column": put("attacks", 3, "column", value=None),
    "source 'made-bare:net' has a column": put("sources", 0, "column", value="transfer"),
    "is on 99 images, of 6": lambda values: values["diagnosis"][0].update(
        images=99, outcomes=["1"] * 99, rate=1.0
    ),
    "eps_curve: no row of the diagnosis has another budget": put(
        "diagnosis", value=lambda rows: [row for row in rows if row["kind"] != "eps"]
    ),
    "'attacks': Tuple should have at least 1 item": put("attacks", value=[]),
    "'defense.stages': Tuple should have at least 1 item": put("defense", "stages", value=[]),
}


@pytest.fixture(scope="module")
def values() -> dict:
    return whole(is_stochastic=False).model_dump(mode="json")


@pytest.mark.parametrize("reason", CONTRADICTIONS)
def test_an_entry_that_contradicts_itself_is_refused_in_one_line(reason, values, tmp_path):
    bad = json.loads(json.dumps(values))
    CONTRADICTIONS[reason](bad)
    path = tmp_path / "bad.json"
    path.write_text(json.dumps(bad))
    with pytest.raises(BenchError) as caught:
        read_entry(path)
    assert "\n" not in str(caught.value)
    assert reason in str(caught.value)
    assert "bad.json" in str(caught.value)


def uses_of(entry: Entry, good: Entry):
    """Everything that is made of an entry beside a good one, drawings and the site apart."""
    problems_of(entry)
    notes_of(entry)
    to_markdown([entry, good], "t")
    to_text([entry, good])
    for form in Form:
        to_table([entry, good], COLUMNS, form)
    for pair in ((entry, good), (good, entry)):
        with contextlib.suppress(BenchError):
            compare(*pair)


@pytest.mark.parametrize("is_stochastic", [False, True])
def test_an_entry_changed_anywhere_is_refused_in_one_line_or_can_be_used(is_stochastic, tmp_path):
    good = whole(is_stochastic=is_stochastic)
    path, n_read = tmp_path / "it.json", 0
    for i, (_, other) in enumerate(changed(good.model_dump(mode="json"))):
        if i % EVERY != is_stochastic:
            continue
        path.write_text(json.dumps(other))
        entries, damaged = read_entries([path])
        assert not any("\n" in line for line in damaged.values())
        if damaged:
            continue
        (entry,) = entries.values()
        n_read += 1
        uses_of(entry, good)
        if n_read == 1:
            pages.render([entry, good])
    assert n_read > 15


@pytest.fixture
def boards(tmp_path, values) -> Path:
    """A good entry, and beside it one that contradicts itself."""
    good = toy("good")
    path = entry_path(tmp_path / "boards", good)
    write_entry(good, path)
    bad = json.loads(json.dumps(values))
    bad["diagnosis"][0]["of"] = "nobody"
    (path.parent / "bad.json").write_text(json.dumps(bad))
    return tmp_path / "boards"


@pytest.mark.parametrize("command", ["validate", "publish"])
def test_a_command_names_it_and_goes_on_with_the_rest(command, boards, tmp_path, capsys):
    words = ["--out", str(tmp_path / "site")] if command == "publish" else []
    assert main([command, str(boards), *words]) == 2
    said = capsys.readouterr()
    assert [line for line in (said.out + said.err).splitlines() if "nobody" in line]
    assert "Traceback" not in said.err
    if command == "publish":
        assert "good" in (tmp_path / "site" / "index.html").read_text()
        assert "bad.json" in (tmp_path / "site" / "index.html").read_text()


@pytest.mark.parametrize(
    "words", [["table"], ["plot", "tradeoff", "-o", "{out}"], ["compare", "{boards}"]]
)
def test_a_command_that_needs_every_entry_names_it_in_one_line(words, boards, tmp_path, capsys):
    given = [word.format(out=tmp_path / "it.svg", boards=boards) for word in words]
    assert main([*given, str(boards)]) == 2
    assert "bad.json" in one_line(capsys.readouterr().err)


def failing_on_good(render):
    """Rendering that fails wherever an entry called good is."""

    def fails(entries, *rest, **more):
        if any(entry.defense.label == "good" for entry in entries):
            raise RuntimeError("it cannot be shown")
        return render(entries, *rest, **more)

    return fails


def test_what_can_be_read_and_not_shown_is_named_and_left_out(tmp_path, monkeypatch):
    paths = {}
    for entry in (toy("good"), toy("other")):
        paths[entry.defense.label] = entry_path(tmp_path, entry)
        write_entry(entry, paths[entry.defense.label])
    monkeypatch.setattr(publish, "to_markdown", failing_on_good(leaderboard.to_markdown))
    done = publish_folder(paths["good"].parent)
    assert [entry.defense.label for entry in done.entries] == ["other"]
    assert len(done.damaged) == 1
    assert "it can be read and not shown (RuntimeError: it cannot be shown)" in done.damaged[0]
    assert "- good--net.json: not an entry" in done.page.read_text()


def test_a_fault_of_ours_is_not_blamed_on_an_entry(tmp_path):
    def broken(entries, lost):
        del entries, lost
        raise RuntimeError("ours")

    with pytest.raises(RuntimeError, match="ours"):
        boundary.rendered({tmp_path / "a.json": toy("a")}, broken)


def test_a_check_that_breaks_is_a_problem_of_its_entry(boards, monkeypatch, capsys):
    def broken(entry):
        raise KeyError(entry.defense.label)

    (boards / "digits" / "linf-8-255" / "bad.json").unlink()
    monkeypatch.setattr(validation, "CHECKS", (broken,))
    assert main(["validate", str(boards)]) == 2
    assert "it cannot be checked to its end: KeyError: 'good'" in capsys.readouterr().out
