"""Example images on the site: shown with their words, whole; or missing, and said so."""

from __future__ import annotations

import json
import shutil

import pytest

from benchmark.cli import main
from benchmark.publishing.leaderboard.escaping import plain
from benchmark.publishing.site.pages import render
from benchmark.records.entry_files import entry_text, write_entry
from benchmark.records.example_sheets import sheet_path
from tests.helpers.entry_with_examples import pictured
from tests.helpers.html_reader import Page, broken_links, pages
from tests.helpers.malicious_plugins import one_line

PAGE = "digits--linf-8-255/toy--net.html"
SHEET = "digits--linf-8-255/toy--net.png"


def rendered(entry, sheet):
    return render([entry], sheets={entry_text(entry): sheet})


def test_a_page_shows_its_sheet_at_a_readable_size_with_words_for_who_does_not_see_it():
    entry, sheet = pictured()
    site = rendered(entry, sheet)
    assert site[SHEET] == sheet
    assert broken_links(site) == []
    (image,) = pages(site)[PAGE].all("img")
    assert image["src"] == "toy--net.png"
    assert (image["width"], image["height"]) == (str(44 * 12), str(26 * 12))
    assert image["class"] == "enlarged"
    assert "3 images (102, 103, 104)" in image["alt"]
    assert "clean, adversarial, change ×15, purified, left ×15" in image["alt"]


def test_each_row_stands_in_words_below_its_pictures():
    page = pages(rendered(*pictured()))[PAGE]
    for row in (
        "1 102 2 2 9 fell autoattack autoattack",
        "2 103 3 3 9 fell oblivious oblivious",
        "3 104 4 4 9 fell autoattack autoattack",
    ):
        assert row in page.text
    assert "Chosen by rule, not by looks" in page.text
    assert "15 times as large" in page.text


@pytest.mark.parametrize(
    ("label", "said"),
    [("none", "Nothing purifies here"), ("mean(a>b, c>d)", "no one purified image")],
)
def test_a_victim_without_a_purified_image_shows_none_and_says_why(label, said):
    entry, sheet = pictured(is_bare=True, label=label)
    page = next(p for path, p in pages(rendered(entry, sheet)).items() if p.all("img"))
    assert said in page.text
    assert "purified" not in page.all("img")[0]["alt"]


def test_the_manifest_lists_the_sheet_and_pages_load_nothing_from_elsewhere():
    site = rendered(*pictured())
    assert SHEET in json.loads(site["site.json"])["files"]
    policy = next(of for of in pages(site)[PAGE].all("meta") if "http-equiv" in of)["content"]
    assert "default-src 'none'" in policy
    assert "img-src 'self';" in policy


def test_a_page_without_its_sheet_says_so_and_keeps_the_words():
    entry, _ = pictured()
    site = render([entry])
    page = pages(site)[PAGE]
    assert SHEET not in site
    assert page.all("img") == []
    assert "The pictures are missing" in page.text
    assert "3 104 4 4 9 fell autoattack" in page.text


def test_a_hostile_attack_stays_text_beside_the_pictures():
    entry, sheet = pictured()
    text = '"><img src=x onerror=alert(1)>'
    rows = tuple(row.model_copy(update={"attack": text}) for row in entry.examples.rows)
    shown = entry.examples.model_copy(update={"rows": rows})
    page = pages(rendered(entry.model_copy(update={"examples": shown}), sheet))[PAGE]
    assert [of["src"] for of in page.all("img")] == ["toy--net.png"]
    assert page.text.count(plain(text)) == len(rows)


@pytest.fixture
def boards(tmp_path):
    """A leaderboards folder with one entry and its sheet."""
    entry, sheet = pictured()
    folder = tmp_path / "leaderboards" / "digits" / "linf-8-255"
    path = folder / "toy--net.json"
    write_entry(entry, path)
    sheet_path(path).write_bytes(sheet)
    return tmp_path / "leaderboards"


def published(boards, status):
    out = boards.parent / "site"
    assert main(["publish", str(boards), "--out", str(out)]) == status
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in out.rglob("*")
        if path.is_file()
    }


def test_publishing_copies_the_sheet_and_does_the_same_twice(boards):
    first = published(boards, 0)
    assert first[SHEET] == pictured()[1]
    assert published(boards, 0) == first


def spoil_missing(path):
    path.unlink()


def spoil_other(path):
    path.write_bytes(b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>")


def spoil_link(path):
    path.unlink()
    path.symlink_to("/etc/passwd")


def spoil_huge(path):
    path.write_bytes(bytes(5_000_000))


@pytest.mark.parametrize("spoil", [spoil_missing, spoil_other, spoil_link, spoil_huge])
def test_a_spoiled_sheet_is_named_and_left_out_and_everything_else_is_published(
    spoil, boards, capsys
):
    spoil(boards / "digits" / "linf-8-255" / "toy--net.png")
    site = published(boards, 2)
    line = one_line(capsys.readouterr().err)
    assert line.startswith("bench: left out of the site: ")
    assert "toy--net.png" in line
    assert "run the entry's command again" in line
    assert SHEET not in site
    assert "The pictures are missing" in Page(site[PAGE]).text
    assert "digits/linf-8-255/toy--net.png" in Page(site["index.html"]).text
    assert broken_links(site) == []


def test_an_entry_that_lies_twice_in_the_folder_is_shown_with_the_sheet_of_either(boards):
    copy = boards / "digits" / "elsewhere"
    shutil.copytree(boards / "digits" / "linf-8-255", copy)
    (boards / "digits" / "linf-8-255" / "toy--net.png").unlink()
    assert published(boards, 2)[SHEET] == pictured()[1]


@pytest.mark.parametrize("spoil", [None, spoil_missing, spoil_other])
def test_validate_holds_the_sheet_to_its_entry(spoil, boards, capsys):
    if spoil:
        spoil(boards / "digits" / "linf-8-255" / "toy--net.png")
    main(["validate", str(boards)])
    said = capsys.readouterr().out
    assert ("toy--net.png is" in said) is bool(spoil)
