"""`bench publish` as a user gives it: the committed leaderboards as a site, bad files, a killed process."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmark.cli import main
from benchmark.records.entry_files import read_entry
from tests.helpers.html_reader import Page, broken_links
from tests.helpers.malicious_plugins import one_line

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
BOARDS = ROOT / "leaderboards"


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("published") / "site"
    assert main(["publish", str(BOARDS), "--out", str(out)]) == 0
    return out


def test_the_committed_leaderboards_become_a_site_whose_links_all_lead_somewhere(site):
    files = files_of(site)
    entries = sorted(BOARDS.glob("*/*/*.json"))
    assert len([path for path in files if path.endswith(".json")]) == len(entries) + 1
    assert broken_links(files) == []


def test_every_committed_entry_has_its_page_with_its_command_and_its_worst_case(site):
    for path in BOARDS.glob("*/*/*.json"):
        entry = read_entry(path)
        page = Page(next(site.glob(f"*/{path.stem.replace('[', '[[]')}.html")).read_bytes())
        assert entry.command in page.text
        assert "Read this before you run it" not in page.text
        assert entry.worst
        assert f"{100 * entry.worst.single.value:.1f}" in page.text


def test_publishing_twice_gives_identical_bytes(site, tmp_path, capsys):
    again = tmp_path / "site"
    for _ in range(2):
        assert main(["publish", str(BOARDS), "--out", str(again)]) == 0
        assert files_of(again) == files_of(site)
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith(f"Written: {again / 'index.html'} (")
    assert list(tmp_path.iterdir()) == [again]


def test_a_site_does_not_say_where_or_when_it_was_made(site):
    for path, content in files_of(site).items():
        assert str(ROOT).encode() not in content, path
        assert str(site.parent).encode() not in content, path


def test_a_damaged_entry_is_named_in_one_line_and_the_status_is_2(tmp_path, capsys):
    copy = tmp_path / "leaderboards"
    shutil.copytree(BOARDS / "cifar10", copy / "cifar10")
    (copy / "cifar10" / "linf-8-255" / "bad.json").write_text('{"schema_version": 3}')
    assert main(["publish", str(copy), "--out", str(tmp_path / "site")]) == 2
    said = capsys.readouterr()
    assert "bad.json: expected an entry with schema_version 1 or 2, got 3" in one_line(said.err)
    assert "3 entries" in said.out
    assert "bad.json" in (tmp_path / "site" / "index.html").read_text()


def test_what_cannot_be_published_is_refused_in_one_line(tmp_path, capsys):
    (tmp_path / "notes.txt").write_text("mine")
    for words in (
        ["publish", str(tmp_path / "none"), "--out", str(tmp_path / "site")],
        ["publish", str(BOARDS), "--out", str(tmp_path)],
    ):
        assert main(words) == 2
        assert one_line(capsys.readouterr().err).startswith("bench: ")
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


KILLED = """
import os, signal, sys
from pathlib import Path
from benchmark.publishing.site import folder
from benchmark.publishing.site.build import publish_site

when, left = sys.argv[3], int(sys.argv[4])
write, exchange = folder.write_whole, folder._exchanged

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def writing(path, content):
    global left
    left -= 1
    if when == "writing" and left == 0:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content[: len(content) // 2])
        die()
    write(path, content)

def exchanging(a, b):
    if when == "before":
        die()
    done = exchange(a, b)
    if when == "after":
        die()
    return done

folder.write_whole, folder._exchanged = writing, exchanging
publish_site(Path(sys.argv[1]), Path(sys.argv[2]))
"""


@pytest.mark.parametrize(
    ("when", "point"), [("writing", 2), ("writing", 9), ("before", 0), ("after", 0)]
)
def test_a_killed_process_leaves_the_old_site_or_the_new_one_whole(when, point, tmp_path):
    old, new, out = tmp_path / "old", tmp_path / "new", tmp_path / "out" / "site"
    shutil.copytree(BOARDS / "cifar10", old / "cifar10")
    shutil.copytree(BOARDS / "cifar10", new / "cifar10")
    next((new / "cifar10" / "linf-8-255").glob("jpeg*.json")).unlink()
    expected = {}
    for name, folder in (("old", old), ("new", new)):
        assert main(["publish", str(folder), "--out", str(tmp_path / f"{name}-site")]) == 0
        expected[name] = files_of(tmp_path / f"{name}-site")
    assert main(["publish", str(old), "--out", str(out)]) == 0
    words = [sys.executable, "-c", KILLED, str(new), str(out), when, str(point)]
    assert subprocess.run(words, cwd=ROOT, check=False, timeout=60).returncode == -9
    assert files_of(out) == expected["new" if when == "after" else "old"]
    assert main(["publish", str(new), "--out", str(out)]) == 0
    assert files_of(out) == expected["new"]
