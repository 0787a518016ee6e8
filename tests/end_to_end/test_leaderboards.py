"""The committed leaderboards: entries that can be read, pages that are theirs, a README that quotes them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmark.publishing.leaderboard.board_text import to_text
from benchmark.publishing.leaderboard.publish import entry_path, publish_folder
from benchmark.records.entry import json_schema
from benchmark.records.entry_files import read_entry, write_schema

ROOT = Path(__file__).resolve().parents[2]
BOARDS = ROOT / "leaderboards"
SYSTEMS = ("aid", "atop", "hgd", "advae", "add")
ENTRIES = sorted(BOARDS.glob("*/*/*.json"))


@pytest.mark.parametrize("path", ENTRIES, ids=lambda path: path.stem)
def test_a_committed_entry_can_be_read_and_lies_where_it_belongs(path):
    assert entry_path(BOARDS, read_entry(path)) == path


@pytest.mark.parametrize("path", ENTRIES, ids=lambda path: path.stem)
def test_a_committed_entry_names_the_release_that_made_it(path):
    said = read_entry(path).environment["purifybench"]
    assert re.fullmatch(r"\d+\.\d+\.\d+(\+g[0-9a-f]{10})?", said), (
        said
    )  # no .dirty, no "not installed"


@pytest.mark.parametrize("folder", sorted({path.parent for path in ENTRIES}), ids=lambda f: f.name)
def test_a_committed_page_is_what_its_entries_make(folder, tmp_path):
    copy = tmp_path / folder.parent.name / folder.name
    copy.mkdir(parents=True)
    for path in folder.glob("*.json"):
        (copy / path.name).write_bytes(path.read_bytes())
    assert publish_folder(copy).page.read_bytes() == (folder / "README.md").read_bytes()


def test_the_committed_schema_is_the_current_one(tmp_path):
    assert json_schema()["title"]
    assert write_schema(tmp_path).read_bytes() == (BOARDS / "schema.json").read_bytes()


def standard(*labels):
    folder = BOARDS / "digits/linf-0.15"
    return [read_entry(folder / f"{label}--digits-cnn--n40.json") for label in labels]


@pytest.mark.parametrize("name", SYSTEMS)
def test_the_page_of_a_system_quotes_its_committed_entry(name):
    page = (ROOT / "docs" / f"{name}.md").read_text()
    assert to_text(standard(f"{name}[digits]", "none")).strip() in page


def test_the_page_of_all_systems_quotes_the_committed_entries():
    entries = standard("none", *(f"{name}[digits]" for name in SYSTEMS))
    assert to_text(entries).strip() in (ROOT / "docs/systems.md").read_text()


@pytest.mark.parametrize("network", ["mnist-x", "mnist-a"])
def test_the_page_of_all_systems_quotes_the_committed_entries_of_mnist(network):
    folder = BOARDS / "mnist/linf-0.3"
    labels = ("none", "aid", "atop[28px-small]", "hgd[28px-small]", "advae", "add[quarter]")
    entries = [read_entry(folder / f"{label}--{network}--n16.json") for label in labels]
    assert to_text(entries).strip() in (ROOT / "docs/systems.md").read_text()


@pytest.mark.parametrize(
    ("folder", "names"),
    [
        ("digits/linf-0.15", ["none--digits-cnn--quick", "atop[digits]--digits-cnn--quick"]),
        (
            "cifar10/linf-8-255",
            [f"{name}--standard-r18--quick--n32" for name in ("jpeg", "gaussian", "none")],
        ),
    ],
)
def test_the_readme_quotes_the_committed_entries(folder, names):
    entries = [read_entry(BOARDS / folder / f"{name}.json") for name in names]
    assert to_text(entries).strip() in (ROOT / "README.md").read_text()
