"""`bench adopt`: what a run left in results goes into the leaderboards, valid and whole, or not at all."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmark.cli import main
from benchmark.records.entry_files import read_entry

ROOT = Path(__file__).resolve().parents[2]
DIGITS = Path("digits/linf-0.15")
PICTURED = "advae[digits]--digits-cnn--quick"


@pytest.fixture
def results(tmp_path, monkeypatch):
    """The current folder's results: two entries, one of them with a sheet."""
    folder = tmp_path / "results" / DIGITS
    folder.mkdir(parents=True)
    for name in (f"{PICTURED}.json", f"{PICTURED}.png", "jpeg--digits-cnn--quick.json"):
        shutil.copy(ROOT / "leaderboards" / DIGITS / name, folder)
    monkeypatch.chdir(tmp_path)
    return folder


def files_below(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_entries_their_sheets_a_page_and_the_schema_are_there_afterwards(results):
    assert main(["adopt", "results", "--into", "boards"]) == 0
    adopted = Path("boards") / DIGITS
    for path in results.glob("*.json"):
        assert read_entry(adopted / path.name) == read_entry(path)
    sheet = f"{PICTURED}.png"
    assert (adopted / sheet).read_bytes() == (results / sheet).read_bytes()
    names = {path.name for path in results.iterdir()}
    assert set(files_below(Path("boards"))) == {
        "schema.json",
        *(str(DIGITS / name) for name in (*names, "README.md")),
    }


def test_adopting_twice_changes_nothing(results):
    assert main(["adopt", "results", "--into", "boards"]) == 0
    before = files_below(Path("boards"))
    assert main(["adopt", "results", "--into", "boards"]) == 0
    assert files_below(Path("boards")) == before


def test_one_entry_with_a_problem_keeps_all_of_them_out(results, capsys):
    path = results / "jpeg--digits-cnn--quick.json"
    values = json.loads(path.read_text())
    values["clean"]["single"]["value"] = 1.0
    path.write_text(json.dumps(values))
    assert main(["adopt", "results", "--into", "boards"]) == 2
    said = capsys.readouterr().err
    assert str(path.relative_to(results.parents[2])) in said
    assert said.count("\n") == 1
    assert not Path("boards").exists()


def test_an_entry_without_its_sheet_is_refused(results, capsys):
    (results / f"{PICTURED}.png").unlink()
    assert main(["adopt", str(results / f"{PICTURED}.json"), "--into", "boards"]) == 2
    assert "is missing" in capsys.readouterr().err
    assert not Path("boards").exists()


@pytest.mark.parametrize("path", ["nowhere", "empty"])
def test_a_path_without_entries_is_refused(path, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    assert main(["adopt", path, "--into", "boards"]) == 2
    assert path in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_run_in_a_clone_changes_no_tracked_file_and_the_tests_of_what_is_committed_pass(tmp_path):
    """README's two commands in their order, made short; `.ci/run` gives them as they stand."""
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", "--no-hardlinks", ROOT, clone], check=True)
    for words in (
        ["-m", "benchmark", "run", "--defense", "none", "--samples", "4"],
        ["-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/end_to_end/test_leaderboards.py"],
    ):
        done = subprocess.run([sys.executable, *words], cwd=clone, check=False)
        assert done.returncode == 0, words
    assert read_entry(clone / "results" / DIGITS / "none--digits-cnn--quick--n4.json")
    changed = subprocess.run(
        ["git", "status", "--porcelain"], cwd=clone, check=True, capture_output=True, text=True
    )
    assert changed.stdout == ""
