"""The static site: every page from entries alone, the same bytes twice, and no text that is more than text."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark.publishing.leaderboard.footnotes import BOUND
from benchmark.publishing.site.pages import render
from benchmark.publishing.site.panels import panels
from benchmark.publishing.site.urls import settled, shelves
from benchmark.records.entry import Entry
from benchmark.scoring.flag_explanations import NEXT_STEPS, said_of
from tests.helpers.html_reader import Page, broken_links, pages
from tests.helpers.run_builder import Run, deterministic
from tests.helpers.sample_entries import toy
from tests.helpers.site_entries import BOARD, TRACED
from tests.helpers.site_entries import entries as every


@pytest.fixture(scope="module")
def entries() -> list[Entry]:
    return every()


@pytest.fixture(scope="module")
def site(entries) -> dict[str, bytes]:
    return render(entries, ["digits/linf-8-255/x.json: not an entry"])


def test_the_site_has_an_index_a_page_for_each_task_and_one_for_each_entry(site):
    html = sorted(path for path in site if path.endswith(".html"))
    assert html == [
        BOARD.replace("index", "first--net--quick"),
        BOARD.replace("index", "first--net"),
        BOARD.replace("index", "holed--net"),
        BOARD,
        BOARD.replace("index", "noisy--net"),
        BOARD.replace("index", "toy--net"),
        "index.html",
        "mnist--l2-0.5/elsewhere--net.html",
        "mnist--l2-0.5/index.html",
    ]
    assert {path.replace(".html", ".json") for path in html if "--net" in path} <= set(site)


def test_every_link_leads_to_a_file_of_the_site_and_every_mark_to_its_note(site):
    assert broken_links(site) == []
    assert sum(len(page.links) for page in pages(site).values()) > 60


def test_pages_load_nothing_from_elsewhere(site):
    for path, content in site.items():
        text = content.decode()
        assert not re.search(r"(?i)(src|href)=\"?(https?:|//)", text), path
        assert "@import" not in text
        assert "url(" not in text
        if path.endswith(".html"):
            assert "default-src 'none'" in text
            assert "style=" not in text
            assert "<script>" not in text


def test_the_same_entries_give_the_same_bytes_in_any_order(entries, site):
    assert render(entries[::-1], ["digits/linf-8-255/x.json: not an entry"]) == site
    assert list(render(entries)) == list(site)


def test_an_entry_that_is_there_twice_is_shown_once(entries):
    again = [Entry.model_validate(entry.model_dump()) for entry in entries]
    assert render([*entries, *again]) == render(entries)


def test_the_manifest_names_every_other_file_by_its_hash(site):
    said = json.loads(site["site.json"])["files"]
    assert said == {
        path: hashlib.sha256(site[path]).hexdigest() for path in sorted(site) if path != "site.json"
    }


def test_the_data_beside_a_page_is_the_entry(entries, site):
    kept = Entry.model_validate_json(site[BOARD.replace("index.html", "toy--net.json")])
    assert kept == entries[0]


def test_a_board_is_a_plain_table_in_rank_order_with_captions_and_row_headers(entries, site):
    page = Page(site[BOARD])
    (shelf,) = [shelf for shelf in shelves(entries) if BOARD.startswith(shelf.folder)]
    ranked = [shelf.placed(entry).page for board in shelf.boards for entry in board.entries]
    linked = [link for link in page.links if "--net" in link]
    assert list(dict.fromkeys(linked)) == ranked
    assert shelf.boards[-1].entries[-1].defense.label == "first"
    assert len(page.all("caption")) == len(page.all("table"))
    scopes = {of.get("scope") for of in page.all("th")}
    assert scopes == {"col", "row", "rowgroup"}
    controls = [of for _, of in page.elements if "data-controls" in of]
    assert len(controls) == len(shelf.boards)
    assert all("hidden" in of for of in controls), "without JavaScript there is nothing to press"
    assert page.all("button") == []


def test_a_board_names_flags_gaps_intervals_and_the_undefended_classifier(site):
    text = Page(site[BOARD]).text
    assert said_of("autoattack-warnings") in text
    assert (
        "gap: holed on net: transfer (transfer): images 2 to 4 failed: RuntimeError: it | crashed"
        in text
    )
    assert "≤ 33.3 (9.7–70.0)" in text
    assert "net undefended: not measured" in text
    assert "first preliminary" in text
    assert "Stochastic victims under each rule" in text


def test_what_to_do_next_stands_beside_raised_flags_alone(site):
    entry = TRACED.entry()
    raised = {flag.id for flag in entry.flags if flag.verdict == "raised"}
    (path,) = [path for path in site if path.endswith("toy--net.html")]
    text = Page(site[path]).text
    assert "autoattack-warnings" in raised
    assert text.count("Next: ") == len(raised)
    assert all(f"Next: {NEXT_STEPS[name]}" in text for name in raised)


def test_every_page_has_one_main_heading_a_language_and_unique_ids(site):
    for path, page in pages(site).items():
        assert len(page.all("h1")) == 1, path
        assert len(page.all("main")) == 1, path
        assert page.all("html") == [{"lang": "en"}], path
        assert len(set(page.ids)) == len(page.ids), path


def test_an_entry_page_says_all_that_the_entry_stands_on(entries, site):
    entry = entries[0]
    text = Page(site[BOARD.replace("index", "toy--net")]).text
    for row in (*entry.attacks, *entry.sources):
        assert row.id in text
    for flag in entry.flags:
        assert flag.detail in text
    stage = entry.defense.stages[0]
    for said in (
        entry.command,
        entry.protocol.sha256,
        entry.classifier.sha256,
        entry.dataset.indices_sha256,
        stage.source_sha256,
        "sigma=0.25",
        "warned: it randomises",
        "Undefended, net has 83.3 %",
        "it has no weights",
        *entry.environment,
    ):
        assert said in text


def test_a_gap_stands_on_its_entrys_page_with_its_reason(site):
    text = Page(site[BOARD.replace("index", "holed--net")]).text
    assert "robust accuracy is at most the number shown" in text
    assert "gap: images 2 to 4 failed: RuntimeError: it | crashed" in text
    assert "≤ 33.3" in text
    assert BOUND in text


def test_a_random_defense_shows_every_rule_and_a_deterministic_one_only_one(site):
    noisy = Page(site[BOARD.replace("index", "noisy--net")]).text
    assert "single draw vote of 2 any of 2" in noisy
    assert "single draw" not in Page(site[BOARD.replace("index", "first--net")]).text


def test_boards_of_one_name_are_told_apart_by_their_protocols_content():
    other = Run(rows=deterministic(clean="11", fgsm="10"), label="other").entry()
    page = Page(render([toy("a"), other])[BOARD])
    assert len(page.all("section")) == 2
    for entry in (toy("a"), other):
        assert f"version 1, sha256 {entry.protocol.sha256[:8]}, images 1 × 8 × 8" in page.text


def test_left_out_files_are_named_on_the_index(site):
    assert "Left out" in Page(site["index.html"]).text
    assert "digits/linf-8-255/x.json: not an entry" in Page(site["index.html"]).text


def test_an_attack_with_steps_has_a_curve_and_one_without_has_none(site):
    page = Page(site[BOARD.replace("index", "toy--net")])
    titles = [of["id"] for of in page.all("title") if "id" in of]
    assert titles == ["convergence-adaptive-title", "convergence-sources-title"]
    assert page.all("svg")
    assert "convergence" not in Page(site[BOARD.replace("index", "first--net")]).ids


def test_a_curve_shows_the_lowest_so_far_and_is_thin_where_the_attack_counts_by_something_else():
    trace = (1.0, 0.5, 0.75, 0.5)
    for bits, width in (("1100", "1.6"), ("1111", "0.7")):
        run = Run(rows=deterministic(clean="1111", pgd=bits), traces={"pgd": trace})
        ((_, _, (chart,)),) = panels(run.entry())
        (line,) = re.findall(
            r'<path d="([^"]*)"[^>]*-000001\)" stroke-width="(.*?)"', chart.drawing
        )
        places = [float(y) for y in line[0].split()[2::3]]
        assert places[0] < places[1]
        assert set(places[1:]) == {places[1]}
        assert line[1] == width


def test_two_entries_whose_files_would_share_a_name_get_two_pages():
    same = [toy("a"), toy("a", arguments='{"sigma": 0.5}'), toy("A")]
    (shelf,) = shelves(same)
    stems = [placed.stem for placed in shelf.places.values()]
    assert len({stem.casefold() for stem in stems}) == 3
    assert all(re.fullmatch(r"[aA]--net--[0-9a-f]{8}", stem) for stem in stems)


@given(st.lists(st.text("aAbB-.", min_size=1, max_size=4), max_size=6))
@settings(max_examples=200, deadline=None)
def test_settled_names_differ_on_any_file_system(wanted):
    names = settled(wanted, [str(i) for i in range(len(wanted))])
    assert len({name.casefold() for name in names}) == len(names)


def test_a_name_that_is_too_long_is_cut_and_told_apart():
    names = settled(["x" * 300 + "1", "x" * 300 + "2"], ["1", "2"])
    assert len(set(names)) == 2
    assert all(len(name) < 200 for name in names)


def test_rendering_starts_no_torch():
    code = (
        "import sys, pathlib; import benchmark.cli.publish; "
        "from benchmark.publishing.site.build import publish_site; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_a_column_of_black_box_attacks_stands_only_where_some_entry_has_it(site):
    asked = toy("asked")
    columns = asked.columns.model_copy(update={"black_box": asked.columns.adaptive})
    board = Page(render([asked.model_copy(update={"columns": columns}), toy("not asked")])[BOARD])
    assert board.text.count("black-box (queries)") == 1
    assert "black-box (queries)" not in Page(site[BOARD]).text
