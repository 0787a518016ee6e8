"""Leaderboards: what is ranked with what, gaps last, pages that hold anyone's names, and where entries go."""

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from benchmark.publishing.leaderboard.board_text import to_markdown, to_text
from benchmark.publishing.leaderboard.escaping import markdown, plain
from benchmark.publishing.leaderboard.ranking import boards
from benchmark.scoring.assembly import assemble
from tests.helpers.run_builder import WHOLE, Run, deterministic
from tests.helpers.sample_entries import cells, labels, ranked, toy

HOSTILE = [
    "a|b",
    "a\\|b",
    "`rm`",
    "<script>alert(1)</script>",
    "&lt;b&gt;",
    "[x](http://evil.example)",
    "![x](y)",
    "**bold** _it_ ~~no~~",
    "two\nlines\r\n| a | b |",
    "\x1b[31mred\x1b[0m",
    "right\u202eleft",
    "www.evil.example",
    "$x$",
    "# title",
    "",
    "1e5",
]


def test_the_most_robust_comes_first_then_the_cleanest():
    entries = [
        toy("weak", pgd="1000"),
        toy("strong", pgd="1110"),
        toy("dirty", clean="1101", pgd="1100"),
        toy("clean", clean="1111", pgd="1100"),
    ]
    assert labels(ranked(entries)) == ["strong", "clean", "dirty", "weak"]
    assert labels(ranked(entries[::-1])) == labels(ranked(entries))


def test_a_row_with_a_gap_is_last_however_robust_it_looks_and_names_it():
    gap = toy("gap", pgd="1111", failed=frozenset({("pgd", 0)}))
    lost = toy("lost", pgd="1111", failed=frozenset({("clean", 0)}))
    entries = [lost, gap, toy("weak", pgd="0000")]
    assert labels(ranked(entries)) == ["weak", "gap", "lost"]
    page, text = to_markdown(entries, "t"), to_text(entries)
    rows = {row[1]: row for row in cells(page)}
    assert rows["weak"][0] == "1"
    assert rows["gap"][0] == rows["lost"][0] == "–"
    assert rows["gap"][5] == "gap"
    assert rows["gap"][8].startswith("≤ ")
    assert rows["lost"][2] == rows["lost"][8] == "gap"
    for shown in (page, text):
        assert "gap: gap on net: pgd (adaptive): images 0 to 2 failed: RuntimeError: it" in shown


def test_different_protocols_are_never_ranked_together():
    quick, standard = toy("q", pgd="1111", protocol="quick"), toy("s", pgd="0000")
    newer = toy("v2", pgd="1110", version=2)
    other = Run(rows=deterministic(clean="1111", transfer="1111"), label="other content").entry()
    found = [labels(board.entries) for board in boards([quick, standard, newer, other])]
    assert sorted(found) == [["other content"], ["q"], ["s"], ["v2"]]
    page = to_markdown([quick, standard, newer, other], "t")
    assert page.count("\n## ") == 4
    assert [row[0] for row in cells(page) if row[0] not in ("rank", "")] == ["1"] * 4


def test_different_threats_and_datasets_are_never_ranked_together():
    entries = [toy("a"), toy("b", threat="linf:4/255"), toy("c", dataset="mnist")]
    assert [len(board.entries) for board in boards(entries)] == [1, 1, 1]


def test_fewer_images_than_the_protocol_asks_for_are_ranked_behind_and_marked():
    few, full = toy("few", pgd="1111", samples=5), toy("full", pgd="0000", samples=4)
    few = few.model_copy(update={"protocol": full.protocol})
    assert labels(ranked([few, full])) == ["full", "few"]
    assert "few (preliminary)" in to_markdown([few, full], "t")


def test_the_page_shows_what_was_measured():
    run = Run(
        rows=WHOLE,
        sources={"made-bare:net": list("000011")},
        traces={"pgd": (0.9, 0.9, 0.9, 0.5)},
        label="atop[digits]",
        model="digits-cnn",
        seconds=0.5,
    )
    header, _, row = cells(to_markdown([run.entry()], "t"))
    shown = dict(zip(header, row, strict=True))
    assert shown == {
        "rank": "1",
        "defense": "atop[digits]",
        "clean": "83.3",
        "oblivious": "66.7",
        "AutoAttack (native)": "50.0",
        "BPDA+EOT (adaptive)": "50.0",
        "auxiliary-aware": "50.0",
        "transfer": "83.3",
        "worst case (95 %)": "33.3 (9.7–70.0)",
        "over undefended (95 %)": "–",
        "passes per image (forward / backward)": "21 / 7",
        "seconds per image": "1.8",
        "n": "6",
        "flags": "a",
    }
    assert "- a: convergence: " in to_markdown([run.entry()], "t")


def test_a_stochastic_victim_shows_every_rule_and_autoattacks_own_verdict_apart():
    rows = {"clean": ["1111", "1111"], "pgd": ["1100", "1111"], "autoattack": ["0101", "0001"]}
    entry = Run(rows=rows, is_stochastic=True, traces={"autoattack": (0.5,)}).entry()
    page = to_markdown([entry], "t")
    table = cells(page)
    assert table[2][4] == "37.5 (50.0)†"
    assert table[4][1].startswith("100.0 → 75.0 (")
    assert table[4][4] == "4, 2, 2"
    assert "it does not enter the worst case" in page
    assert "37.5 (50.0)†" in to_text([entry])


def test_a_defense_that_brings_its_own_classifier_says_so():
    evaluated = Run(rows=WHOLE).evaluated()
    entry = assemble(dataclasses.replace(evaluated, is_add_on=False))
    assert "toy (not add-on)" in to_markdown([entry], "t")


@pytest.mark.parametrize("name", HOSTILE)
def test_any_name_reads_as_itself_in_one_cell(name):
    entry = toy(name, model=name, failed=frozenset({("pgd", 0)}))
    page = to_markdown([entry], name)
    header, group, row = cells(page)
    assert len(row) == len(group) == len(header) == 14
    assert group[1] == plain(f"{name}, undefended: not measured")
    assert row[1] == plain(name)
    assert "\x1b" not in page + to_text([entry])
    assert "\u202e" not in page + to_text([entry])
    html = MarkdownIt("commonmark", {"html": True}).enable("table").render(page)
    for tag in ("<script", "<a ", "<img", "<b>"):
        assert tag not in html


@given(st.text(max_size=30))
@settings(max_examples=150, deadline=None)
def test_any_text_reads_as_itself_in_a_table(text):
    page = f"| a | b |\n|---|---|\n| {markdown(text)} | x |\n"
    assert cells(page)[1] == [plain(text), "x"]


def test_the_terminals_table_fits_120_columns():
    rows = WHOLE | deterministic(clean="111111")
    runs = [Run(rows=rows, label=label, model="digits-cnn") for label in ("atop[digits]", "none")]
    text = to_text([run.entry() for run in runs])
    assert max(map(len, text.splitlines()[:6])) <= 120


def test_names_in_the_terminal_are_cut():
    assert "x" * 17 + "…" in to_text([toy("x" * 99)])


def test_the_column_of_black_box_attacks_stands_only_where_some_entry_has_it():
    plain = Run(rows=WHOLE, label="plain").entry()
    asked = Run(rows=WHOLE | deterministic(square="101111"), label="asked").entry()
    assert "black-box (queries)" not in to_markdown([plain], "t")
    assert " query " not in to_text([plain])
    header, *rows = cells(to_markdown([asked], "t"))
    assert header.index("black-box (queries)") == header.index("transfer") + 1
    assert {len(row) for row in rows} == {len(header)}
    assert rows[1][header.index("black-box (queries)")] == "66.7"
    assert " query " in to_text([asked])
    assert asked.columns.black_box.rows == ("square",)
    assert asked.worst.single.value <= 4 / 6


def test_an_entry_without_the_column_stands_beside_one_that_has_it():
    asked = Run(rows=WHOLE | deterministic(square="101111"), label="asked").entry()
    old = Run(rows=WHOLE, label="old").entry()
    old = old.model_copy(update={"protocol": asked.protocol})
    header, *rows = cells(to_markdown([old, asked], "t"))
    shown = {row[1]: row[header.index("black-box (queries)")] for row in rows if row[0]}
    assert shown == {"old": "–", "asked": "66.7"}
