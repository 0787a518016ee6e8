"""Tables for papers: the numbers of the entries, in the leaderboard's order, safe in each form."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from benchmark.cli import main
from benchmark.publishing.leaderboard.tables import COLUMNS, Form, to_table, usual
from benchmark.records.entry_files import write_entry
from tests.helpers.sample_entries import cells, toy

BOARDS = Path(__file__).resolve().parents[3] / "leaderboards"
HOSTILE = "a & b_% $x$ | <b>{\\input{x}}"


def test_rows_stand_in_the_leaderboards_order_with_their_numbers():
    weak, strong = toy("weak", pgd="1000"), toy("strong", pgd="1110")
    (_, *rows) = cells(to_table([weak, strong], ["defense", "clean", "worst"], Form.MARKDOWN))
    assert [row[:2] for row in rows] == [["strong", "100.0"], ["weak", "100.0"]]
    assert rows[0][2] == "75.0 (30.1–95.4)"


def test_csv_has_every_number_as_it_is():
    entry = toy("it")
    (row,) = csv.DictReader(io.StringIO(to_table([entry], COLUMNS, Form.CSV)))
    assert float(row["worst"]) == entry.worst.single.value
    assert float(row["worst_low"]) == entry.worst.single.low
    assert row["transfer"] == ""
    assert int(row["n"]) == 4


@pytest.mark.parametrize("name", ["=1+1", "@x", "-2", "+3"])
def test_csv_is_no_formula_of_a_spreadsheet(name):
    assert to_table([toy(name)], ["defense"], Form.CSV).splitlines()[1] == f"'{name}"


def test_hostile_names_are_text_in_every_form():
    entry = toy(HOSTILE)
    page = to_table([entry], ["defense", "worst"], Form.MARKDOWN)
    assert cells(page)[1][0] == HOSTILE
    latex = to_table([entry], ["defense", "worst"], Form.LATEX)
    assert "a \\& b\\_\\% \\$x\\$" in latex
    assert "\\input" not in latex
    assert next(
        csv.reader(io.StringIO(to_table([entry], ["defense"], Form.CSV).split("\n", 1)[1]))
    ) == [HOSTILE]


def test_what_tells_boards_apart_stands_in_front():
    assert usual([toy("a"), toy("b")])[:2] == ["rank", "defense"]
    assert usual([toy("a"), toy("b", threat="linf:4/255")])[:2] == ["threat", "rank"]
    assert usual([toy("a"), toy("b", protocol="quick")])[:2] == ["protocol", "rank"]


def test_the_command_writes_a_file_and_narrows_what_is_in_it(tmp_path, capsys):
    out = tmp_path / "table.tex"
    words = ["table", str(BOARDS / "digits"), "--protocol", "standard", "--format", "latex"]
    assert main([*words, "--out", str(out)]) == 0
    assert out.read_text().startswith("\\begin{tabular}")
    assert out.read_text().count("digits-cnn") == 6
    assert (
        main(["table", str(BOARDS / "digits"), "--defense", "jpeg", "--columns", "defense,n"]) == 0
    )
    assert cells(capsys.readouterr().out.split("\n", 1)[1])[1:] == [["jpeg", "50"]]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--columns", "worts"], "Did you mean 'worst'"),
        (["--defense", "nobody"], "no entry is left"),
        (["--format", "html"], "expected markdown or latex or csv"),
    ],
)
def test_a_mistake_is_said_and_status_2(tmp_path, capsys, words, reason):
    write_entry(toy("a"), tmp_path / "a.json")
    assert main(["table", str(tmp_path), *words]) == 2
    assert reason in capsys.readouterr().err
