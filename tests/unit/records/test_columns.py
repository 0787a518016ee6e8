"""Columns and rules: named in one table, which every page, table and check reads."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmark.engine.criterion import Rule
from benchmark.publishing.leaderboard.columns import BOARD_COLUMNS
from benchmark.publishing.leaderboard.tables import COLUMNS
from benchmark.records.challenge import Choices
from benchmark.records.entry_parts import Columns
from benchmark.records.protocol import FAMILIES, Column
from benchmark.records.rates import RULES, Rates
from benchmark.records.scores import Scores

ROOT = Path(__file__).resolve().parents[3] / "benchmark"


def test_the_published_columns_are_those_of_the_table_in_its_order():
    assert list(Columns.model_fields) == [column.field for column in FAMILIES]
    assert [column.name for column in BOARD_COLUMNS if column.family] == list(FAMILIES)
    assert {str(column) for column in Column} <= set(COLUMNS)


@pytest.mark.parametrize("kept", [Rates, Choices, Scores])
def test_the_published_rules_are_those_of_the_table_in_its_order(kept):
    names = [RULES[rule].field for rule in Rule]
    assert [name for name in kept.model_fields if name in names] == names


@pytest.mark.parametrize("column", [c for c in FAMILIES if c.heading != c.value], ids=str)
def test_no_other_file_names_a_column_by_its_heading(column):
    said = f'"{column.heading}"'
    paths = [*ROOT.rglob("*.py"), *ROOT.rglob("*.html")]
    found = [path.name for path in paths if said in path.read_text(encoding="utf-8")]
    assert found == ["protocol.py"]


def test_a_column_is_its_value():
    assert [Column(column.value) for column in Column] == list(Column)
    assert f"{Column.BLACK_BOX}" == "black-box"
    assert Column.BLACK_BOX.field == "black_box"
