"""Leaderboards: what is ranked with what, gaps last, pages that hold anyone's names, and where entries go."""

import dataclasses
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from benchmark.assembly import assemble
from benchmark.entry_files import write_entry
from benchmark.errors import BenchError
from benchmark.leaderboard import boards, rank, to_markdown, to_text
from benchmark.names import file_name, markdown, plain
from benchmark.publish import entry_path, publish, publish_folder
from tests.records import WHOLE, Run, deterministic

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


def toy(label, *, clean="1111", pgd="1100", **fields):
    return Run(rows=deterministic(clean=clean, pgd=pgd), label=label, **fields).entry()


def labels(entries):
    return [entry.defense.label for entry in entries]


def cells(page):
    """Every table of a page as rows of plain text, as a reader sees it."""
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(page)
    rows: list[list[str]] = []
    inside = False
    for token in tokens:
        if token.type == "tr_open":
            rows.append([])
        inside = inside or token.type in ("td_open", "th_open")
        if inside and token.type == "inline":
            kinds = {child.type for child in token.children or []}
            assert kinds <= {"text", "text_special"}, kinds
            rows[-1].append("".join(child.content for child in token.children or []))
        inside = inside and token.type not in ("td_close", "th_close")
    return rows


def test_the_most_robust_comes_first_then_the_cleanest():
    entries = [
        toy("weak", pgd="1000"),
        toy("strong", pgd="1110"),
        toy("dirty", clean="1101", pgd="1100"),
        toy("clean", clean="1111", pgd="1100"),
    ]
    assert labels(rank(entries)) == ["strong", "clean", "dirty", "weak"]
    assert labels(rank(entries[::-1])) == labels(rank(entries))


def test_a_row_with_a_gap_is_last_however_robust_it_looks_and_names_it():
    gap = toy("gap", pgd="1111", failed=frozenset({("pgd", 0)}))
    lost = toy("lost", pgd="1111", failed=frozenset({("clean", 0)}))
    entries = [lost, gap, toy("weak", pgd="0000")]
    assert labels(rank(entries)) == ["weak", "gap", "lost"]
    page, text = to_markdown(entries, "t"), to_text(entries)
    rows = {row[1]: row for row in cells(page)}
    assert rows["weak"][0] == "1"
    assert rows["gap"][0] == rows["lost"][0] == "–"
    assert rows["gap"][6] == "gap"
    assert rows["gap"][9].startswith("≤ ")
    assert rows["lost"][3] == rows["lost"][9] == "gap"
    for shown in (page, text):
        assert "gap: gap on net: pgd (adaptive): images 0 to 2 failed: RuntimeError: it" in shown


def test_different_protocols_are_never_ranked_together():
    quick, standard = toy("q", pgd="1111", protocol="quick"), toy("s", pgd="0000")
    newer = toy("v2", pgd="1110", version=2)
    other = Run(rows=deterministic(clean="1111", transfer="1111"), label="other content").entry()
    found = [labels(board) for board in boards([quick, standard, newer, other])]
    assert sorted(found) == [["other content"], ["q"], ["s"], ["v2"]]
    page = to_markdown([quick, standard, newer, other], "t")
    assert page.count("\n## ") == 4
    assert [row[0] for row in cells(page) if row[0] != "rank"] == ["1"] * 4


def test_different_threats_and_datasets_are_never_ranked_together():
    entries = [toy("a"), toy("b", threat="linf:4/255"), toy("c", dataset="mnist")]
    assert [len(board) for board in boards(entries)] == [1, 1, 1]


def test_fewer_images_than_the_protocol_asks_for_are_ranked_behind_and_marked():
    few, full = toy("few", pgd="1111", samples=5), toy("full", pgd="0000", samples=4)
    few = few.model_copy(update={"protocol": full.protocol})
    assert labels(rank([few, full])) == ["full", "few"]
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
    header, row = cells(to_markdown([run.entry()], "t"))
    shown = dict(zip(header, row, strict=True))
    assert shown == {
        "rank": "1",
        "defense": "atop[digits]",
        "classifier": "digits-cnn",
        "clean": "83.3",
        "oblivious": "66.7",
        "AutoAttack (native)": "50.0",
        "BPDA+EOT (adaptive)": "50.0",
        "auxiliary-aware": "50.0",
        "transfer": "83.3",
        "worst case (95 %)": "33.3 (9.7–70.0)",
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
    assert table[1][5] == "37.5 (50.0)†"
    assert table[3][1].startswith("100.0 → 75.0 (")
    assert table[3][4] == "4, 2, 2"
    assert "it does not enter the worst case" in page
    assert "37.5†" in to_text([entry])


def test_a_defense_that_brings_its_own_classifier_says_so():
    evaluated = Run(rows=WHOLE).evaluated()
    own = dataclasses.replace(evaluated.subject, is_add_on=False)
    entry = assemble(dataclasses.replace(evaluated, subject=own))
    assert "toy (not add-on)" in to_markdown([entry], "t")


@pytest.mark.parametrize("name", HOSTILE)
def test_any_name_reads_as_itself_in_one_cell(name):
    entry = toy(name, model=name, failed=frozenset({("pgd", 0)}))
    page = to_markdown([entry], name)
    header, row = cells(page)
    assert len(row) == len(header) == 14
    assert row[1] == row[2] == plain(name)
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


# --- where entries go


def test_an_entry_goes_where_its_dataset_threat_defense_and_model_say(tmp_path):
    standard = toy("atop[digits]+jpeg", model="digits-cnn")
    assert entry_path(tmp_path, standard) == (
        tmp_path / "digits" / "linf-8-255" / "atop[digits]+jpeg--digits-cnn.json"
    )
    quick = toy("atop[digits]+jpeg", model="digits-cnn", protocol="quick")
    assert entry_path(tmp_path, quick).name == "atop[digits]+jpeg--digits-cnn--quick.json"
    few = toy("none", model="m", samples=512)
    assert entry_path(tmp_path, few).name == "none--m--n4.json"


def test_an_entry_replaces_its_own_earlier_run_and_nothing_else(tmp_path):
    first = toy("gaussian", arguments='{"sigma": 0.1}')
    others = [
        toy("gaussian", arguments='{"sigma": 0.2}'),
        toy("gaussian", version=2),
        toy("gaussian", protocol="quick"),
        toy("gaussian", samples=512),
        toy("gaussian", model="Net"),
        Run(rows=deterministic(clean="11"), label="gaussian").entry(),
    ]
    paths = []
    for entry in (first, *others):
        paths.append(entry_path(tmp_path, entry))
        write_entry(entry, paths[-1])
    assert len(set(paths)) == len(paths)
    again = toy("gaussian", arguments='{"sigma": 0.1}', pgd="0000", weights="v" * 64)
    assert entry_path(tmp_path, again) == paths[0]
    assert [entry_path(tmp_path, entry) for entry in others] == paths[1:]


def test_a_damaged_entry_is_mended_by_its_next_run(tmp_path):
    path = entry_path(tmp_path, toy("a"))
    write_entry(toy("a"), path)
    path.write_text("{")
    assert entry_path(tmp_path, toy("a")) == path


@pytest.mark.parametrize(
    "name",
    [
        "../../etc/passwd",
        "npz:/tmp/x.npz",
        "file:C:\\x",
        "..",
        ".",
        "",
        "a--b",
        "é",
        "x" * 300,
        "a\0b",
    ],
)
def test_no_name_leaves_its_folder(name, tmp_path):
    path = entry_path(tmp_path, toy(name, model=name, dataset=name))
    assert path.resolve() == path
    assert len(path.relative_to(tmp_path).parts) == 3
    assert not any(part.startswith(".") for part in path.relative_to(tmp_path).parts)
    write_entry(toy(name, model=name, dataset=name), path)


@given(st.text(max_size=20), st.text(max_size=20))
@settings(max_examples=200, deadline=None)
def test_two_names_never_share_a_file_name(a, b):
    assert (file_name(a) == file_name(b)) == (a == b)
    assert "--" not in file_name(a)


def test_names_that_are_alike_once_made_safe_stay_apart():
    assert len({file_name(name) for name in ("a/b", "a:b", "a-b", "a--b", ".a-b")}) == 5


# --- pages


@pytest.fixture
def leaderboards(tmp_path):
    for entry in (
        toy("a"),
        toy("b", pgd="1110"),
        toy("c", dataset="mnist"),
        toy("a", protocol="quick"),
    ):
        write_entry(entry, entry_path(tmp_path, entry))
    return tmp_path


def test_publishing_twice_writes_identical_bytes_and_leaves_nothing_else(leaderboards):
    first = publish(leaderboards)
    pages = {done.page: done.page.read_bytes() for done in first}
    assert {page.parent.parent.name for page in pages} == {"digits", "mnist"}
    publish(leaderboards)
    assert {page: page.read_bytes() for page in pages} == pages
    names = sorted(path.name for path in next(iter(pages)).parent.iterdir())
    assert names == ["README.md", "a--net--quick.json", "a--net.json", "b--net.json"]


def test_a_damaged_entry_is_named_on_the_page_and_the_others_stand(leaderboards):
    folder = leaderboards / "digits" / "linf-8-255"
    (folder / "b--net.json").write_text('{"schema_version": 1}')
    (folder / "z_|odd.json").mkdir()
    done = publish_folder(folder)
    assert labels(done.entries) == ["a", "a"]
    assert len(done.damaged) == 2
    assert "b--net.json" in done.damaged[0]
    page = done.page.read_text()
    assert "- b--net.json: not an entry" in page
    assert "- z\\_&#124;odd.json: not an entry" in page
    assert [row[1] for row in cells(page) if row[0] == "1"] == ["a", "a (preliminary)"]


def test_an_entry_moved_by_hand_to_another_threats_folder_is_not_ranked_there(leaderboards):
    folder = leaderboards / "digits" / "linf-8-255"
    write_entry(toy("other", threat="linf:4/255", pgd="1111"), folder / "other--net.json")
    page = publish_folder(folder).page.read_text()
    assert page.count("\n## ") == 3
    assert "digits test, linf:4/255" in page


def test_an_empty_or_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(BenchError, match="found none"):
        publish_folder(tmp_path)
    with pytest.raises(BenchError, match="there is none"):
        publish_folder(tmp_path / "no")
    with pytest.raises(BenchError, match="there is none"):
        publish(tmp_path / "no")


def test_a_page_says_no_time_and_no_path(leaderboards):
    page = publish(leaderboards)[0].page.read_text()
    assert str(leaderboards) not in page
    assert not re.search(r"\d{4}-\d\d-\d\d|\d\d:\d\d", page)
