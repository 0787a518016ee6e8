"""The site's folder: replaced whole or not at all, and nothing of anyone else's is touched."""

from __future__ import annotations

import json

import pytest

from benchmark.errors import BenchError
from benchmark.publishing.leaderboard.publish import entry_path
from benchmark.publishing.site import folder as place
from benchmark.publishing.site.build import publish_site
from benchmark.publishing.site.folder import replace_folder
from benchmark.publishing.site.pages import MANIFEST
from benchmark.records.entry_files import write_entry
from tests.helpers.sample_entries import toy


def made(word: str, *names: str) -> dict[str, bytes]:
    """A small site."""
    files = {name: word.encode() for name in names or ("index.html", "a/b.html")}
    listed = json.dumps({"made_by": "bench publish", "files": dict.fromkeys(files, "")})
    return files | {MANIFEST: listed.encode()}


def found(folder) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture(params=["exchanged", "renamed twice"])
def way(request, monkeypatch):
    """Both ways in which a folder takes another one's place."""
    if request.param == "renamed twice":
        monkeypatch.setattr(place, "_exchanged", lambda a, b: False)
    return request.param


def test_a_site_takes_the_place_of_the_old_one_and_leaves_nothing_of_it(tmp_path, way):
    out = tmp_path / "site"
    replace_folder(out, made("old", "index.html", "gone/x.html"))
    replace_folder(out, made("new", "index.html", "here/y.html"))
    assert found(out) == made("new", "index.html", "here/y.html")
    assert not (out / "gone").exists()
    assert list(tmp_path.iterdir()) == [out]


def test_a_folder_that_is_not_there_or_empty_is_filled(tmp_path, way):
    for out in (tmp_path / "deep" / "site", tmp_path / "empty"):
        if out.name == "empty":
            out.mkdir()
        replace_folder(out, made("x"))
        assert found(out) == made("x")
        assert [path.name for path in out.parent.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize("name", ["notes.txt", ".git/config", "a/mine.html", "empty/"])
def test_a_folder_that_holds_anything_else_is_refused_and_left_alone(name, tmp_path):
    out = tmp_path / "site"
    replace_folder(out, made("old"))
    other = out / name
    if name.endswith("/"):
        other.mkdir()
    else:
        other.parent.mkdir(exist_ok=True)
        other.write_text("mine")
    before = found(out)
    with pytest.raises(BenchError, match="no part of a site"):
        replace_folder(out, made("new"))
    assert found(out) == before
    assert other.exists()
    assert list(tmp_path.iterdir()) == [out]


def test_a_file_and_a_link_are_refused(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(BenchError, match="it is a file"):
        replace_folder(tmp_path / "file", made("x"))
    target = tmp_path / "target"
    target.mkdir()
    (target / "b.html").write_text("mine")
    out = tmp_path / "site"
    replace_folder(out, made("old"))
    (out / "a" / "b.html").unlink()
    (out / "a").rmdir()
    (out / "a").symlink_to(target)
    with pytest.raises(BenchError, match="no part of a site"):
        replace_folder(out, made("new"))
    assert (target / "b.html").read_text() == "mine"


@pytest.mark.parametrize("name", ["../mine", "/etc/passwd", "a/../../mine", "", "a\0b"])
def test_a_list_of_files_that_points_elsewhere_removes_nothing_there(name, tmp_path):
    (tmp_path / "mine").write_text("mine")
    out = tmp_path / "site"
    replace_folder(out, made("old"))
    listed = {"made_by": "bench publish", "files": {"index.html": "", "a/b.html": "", name: ""}}
    (out / MANIFEST).write_text(json.dumps(listed))
    replace_folder(out, made("new"))
    assert (tmp_path / "mine").read_text() == "mine"
    assert found(out) == made("new")


@pytest.mark.parametrize(
    "listed", ["", "{", "[]", "3", '{"files": 3, "made_by": "bench publish"}', "[" * 100_000, "{}"]
)
def test_a_damaged_list_of_files_makes_the_folder_somebody_elses(listed, tmp_path):
    out = tmp_path / "site"
    replace_folder(out, made("old"))
    (out / MANIFEST).write_text(listed)
    with pytest.raises(BenchError, match="no part of a site"):
        replace_folder(out, made("new"))
    assert (out / "index.html").read_bytes() == b"old"


def test_what_cannot_be_written_leaves_the_old_site(tmp_path, way, monkeypatch):
    out = tmp_path / "site"
    replace_folder(out, made("old"))

    def full(path, content):
        if path.name == "b.html":
            raise BenchError("no space left on device")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    monkeypatch.setattr(place, "write_whole", full)
    with pytest.raises(BenchError, match="no space"):
        replace_folder(out, made("new"))
    assert found(out) == made("old")
    assert list(tmp_path.iterdir()) == [out]


def test_a_rename_that_fails_leaves_the_old_site(tmp_path, monkeypatch):
    out = tmp_path / "site"
    replace_folder(out, made("old"))

    def fails(a, b):
        raise OSError(16, "Device or resource busy")

    monkeypatch.setattr(place, "_exchanged", fails)
    with pytest.raises(BenchError, match="busy"):
        replace_folder(out, made("new"))
    assert found(out) == made("old")
    assert list(tmp_path.iterdir()) == [out]


@pytest.fixture
def leaderboards(tmp_path):
    folder = tmp_path / "leaderboards"
    for entry in (toy("a"), toy("b"), toy("c", dataset="mnist")):
        write_entry(entry, entry_path(folder, entry))
    return folder


def test_damaged_and_future_entries_are_named_and_the_rest_is_published(leaderboards, tmp_path):
    task = leaderboards / "digits" / "linf-8-255"
    future = json.loads((task / "a--net.json").read_text()) | {"schema_version": 99}
    (task / "future.json").write_text(json.dumps(future))
    (task / "half.json").write_text((task / "a--net.json").read_text()[:500])
    (task / "no <b>entry.json").write_text("[]")
    (task / "folder.json").mkdir()
    done = publish_site(leaderboards, tmp_path / "site")
    assert done.n_entries == 3
    assert len(done.damaged) == 4
    assert all(line.count("\n") == 0 for line in done.damaged)
    assert any("schema_version 1 or 2, got 99" in line for line in done.damaged)
    index = done.index.read_text()
    for name in ("future.json", "half.json", "no &lt;b&gt;entry.json", "folder.json"):
        assert f"digits/linf-8-255/{name}: not an entry" in index
    assert str(tmp_path) not in index


def test_where_no_entry_can_be_read_the_old_site_stays(leaderboards, tmp_path):
    publish_site(leaderboards, tmp_path / "site")
    before = found(tmp_path / "site")
    for path in leaderboards.rglob("*.json"):
        path.write_text("{")
    with pytest.raises(BenchError, match=r"found none \(3 cannot be read"):
        publish_site(leaderboards, tmp_path / "site")
    assert found(tmp_path / "site") == before


def test_no_leaderboards_none_in_them_and_a_site_inside_them_are_refused(leaderboards, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(BenchError, match="there is none"):
        publish_site(tmp_path / "no", tmp_path / "site")
    with pytest.raises(BenchError, match="found none"):
        publish_site(tmp_path / "empty", tmp_path / "site")
    with pytest.raises(BenchError, match="must not lie in"):
        publish_site(leaderboards, leaderboards / "site")
    with pytest.raises(BenchError, match="no part of a site"):
        publish_site(leaderboards, tmp_path)
    assert not (tmp_path / "site").exists()
