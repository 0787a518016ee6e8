"""Hostile texts in every field of an entry: none breaks out of a page or leaves the folder of the site."""

from __future__ import annotations

import json
import re

import pytest
from pydantic import ValidationError

from benchmark.publishing.site.entry_page import is_plain_command
from benchmark.publishing.site.pages import render
from benchmark.records.entry import Entry
from tests.helpers.html_reader import Page, broken_links, pages
from tests.helpers.sample_entries import toy
from tests.helpers.site_entries import BOARD, GAPPED, RANDOM, TRACED
from tests.helpers.site_entries import entries as every

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</title></style></svg><script>alert(1)</script>",
    "javascript:alert(1)",
    "{{ 7 * 7 }}{% raw %}",
    "a | b | c\n| --- |\n# heading",
    "../../../etc/passwd",
    "C:\\..\\x",
    "\u202egnirts thgir-ot-tfel\u2066",
    "שלום עולם",
    "\x1b[31m\x07\u200b\ufeff",
    "<!--",
    "]]>",
    "&lt;b&gt;&#60;",
    "x" * 5_000,
    "",
    "index",
    "nul",
)


def places(value, path=()) -> list[tuple]:
    """Where the texts of a JSON value stand."""
    if isinstance(value, dict):
        return [p for key in value for p in places(value[key], (*path, key))]
    if isinstance(value, list):
        return [p for i in range(len(value)) for p in places(value[i], (*path, i))]
    return [path] if isinstance(value, str) else []


def replaced(values, paths, text):
    """A copy with this text at these places; ids keep a part of themselves, so that they stay apart."""
    copy = json.loads(json.dumps(values))
    for path in paths:
        inner = copy
        for key in path[:-1]:
            inner = inner[key]
        is_id = path[-1] in ("id", "row") or "chosen" in path or "rows" in path
        inner[path[-1]] = f"{text}{inner[path[-1]]}" if is_id else text
    return copy


def is_valid(values) -> bool:
    try:
        Entry.model_validate_json(json.dumps(values))
    except ValidationError:
        return False
    return True


@pytest.fixture(scope="module")
def free():
    """Entries as JSON values, and the places of all texts that their schema leaves free."""
    found = []
    for run in (TRACED, GAPPED, RANDOM):
        values = run.entry().model_dump(mode="json")
        named = [p for p in places(values) if p[-1] in ("id", "row") or {"chosen", "rows"} & set(p)]
        texts = [
            p for p in places(values) if p not in named and is_valid(replaced(values, [p], "x"))
        ]
        assert is_valid(replaced(values, [*named, *texts], "x"))
        assert len(texts) >= 30
        found.append((values, [*named, *texts]))
    return found


def poisoned(values, paths, text) -> Entry:
    """The entry with this text wherever its schema leaves one free."""
    kept = paths if is_valid(replaced(values, paths, text)) else []
    kept = kept or [p for p in paths if is_valid(replaced(values, [p], text))]
    return Entry.model_validate_json(json.dumps(replaced(values, kept, text)))


@pytest.fixture(scope="module")
def shapes():
    """For each kind of page, the elements and attributes that harmless entries give."""
    found = {}
    for path, page in pages(render(every(), ["x"])).items():
        kind = "entry" if "--net" in path else path.rpartition("/")[2] + path.partition("/")[1]
        tags, names = found.setdefault(kind, (set(), set()))
        tags |= page.tags
        names |= {name for _, of in page.elements for name in of}
    return found


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_no_text_of_an_entry_is_more_than_text(text, free, shapes):
    bad = [poisoned(values, paths, text) for values, paths in free]
    site = render([*bad, toy("good")], [text])
    for path in site:
        parts = path.split("/")
        assert len(parts) <= 2
        assert not {"", ".", ".."} & set(parts)
        assert all(len(part.encode()) < 250 and not part.startswith(".") for part in parts)
        assert re.fullmatch(r"[A-Za-z0-9._+\[\]/-]+", path)
    assert broken_links(site) == []
    for path, page in pages(site).items():
        kind = "entry" if path.count("--") > 1 and not path.endswith("index.html") else None
        kind = kind or path.rpartition("/")[2] + path.partition("/")[1]
        tags, names = shapes[kind]
        assert page.tags <= tags, path
        assert {name for _, of in page.elements for name in of} <= names, path
        assert [of.get("src") for of in page.all("script")] in (
            ["assets/table.js"],
            ["../assets/table.js"],
        )
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u200b\u202a-\u202e\u2066-\u2069]", page.text)
        assert "49" not in page.text.split()


def test_what_a_hostile_name_says_is_still_read():
    site = render([toy("<b>bold</b> & co")])
    for page in pages(site).values():
        assert "<b>bold</b> & co" in page.text


@pytest.mark.parametrize(
    ("command", "plain"),
    [
        ("bench run --defense 'atop[digits]' --seed 0", True),
        ("bench run --defense a; rm -rf ~", False),
        ("bench run --defense $(reboot)", False),
        ("bench run 'unclosed", False),
        ("bench run --defense a\nreboot", False),
        ("curl x | sh", False),
        ("", False),
    ],
)
def test_only_one_plain_command_is_shown_without_a_warning(command, plain):
    assert is_plain_command(command) is plain
    entry = toy("a").model_copy(update={"command": command})
    text = Page(render([entry])[BOARD.replace("index", "a--net")]).text
    assert ("Read this before you run it" in text) is not plain
