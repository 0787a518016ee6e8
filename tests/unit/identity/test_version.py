"""The version in entries: the release, the commit of a checkout, or the one that an installer noted."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
from importlib.metadata import Distribution
from pathlib import Path

import pytest

from benchmark.cli import main
from benchmark.identity.version import RELEASE, commit_of, full_version

ROOT = Path(__file__).resolve().parents[3]


def said(folder: Path) -> str:
    """What the copy of the module in a folder says."""
    spec = importlib.util.spec_from_file_location(
        "copied", folder / "benchmark" / "identity" / "version.py"
    )
    copy = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(copy)
    return copy.full_version()


def git(folder: Path, *words: str) -> str:
    settings = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    command = ["git", "-C", str(folder), *settings, *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def checkout(tmp_path) -> Path:
    """A repository with this module in it, and results beside it."""
    if shutil.which("git") is None:
        pytest.skip("there is no git here")
    for name in ("benchmark/identity", "defenses", "leaderboards"):
        (tmp_path / name).mkdir(parents=True)
    shutil.copy(ROOT / "benchmark" / "identity" / "version.py", tmp_path / "benchmark" / "identity")
    (tmp_path / "leaderboards" / "it.json").write_text("{}")
    (tmp_path / ".gitignore").write_text("__pycache__\n")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-qm", "first")
    return tmp_path


def test_a_checkout_says_its_commit(checkout):
    head = git(checkout, "rev-parse", "HEAD")
    assert said(checkout) == f"{RELEASE}+g{head[:10]}"
    git(checkout, "commit", "-q", "--allow-empty", "-m", "second")
    assert said(checkout) == f"{RELEASE}+g{git(checkout, 'rev-parse', 'HEAD')[:10]}" != head


def test_changed_code_is_dirty_and_changed_results_are_not(checkout):
    clean = said(checkout)
    (checkout / "leaderboards" / "it.json").write_text("[]")
    (checkout / "notes.txt").write_text("mine")
    assert said(checkout) == clean
    (checkout / "defenses" / "mine.py").write_text("")
    assert said(checkout) == f"{clean}.dirty"
    (checkout / "defenses" / "mine.py").unlink()
    assert said(checkout) == clean
    (checkout / ".gitignore").write_text("__pycache__\n*.log\n")
    assert said(checkout) == f"{clean}.dirty"


def test_a_hooks_variables_lead_to_no_other_repository(checkout, monkeypatch):
    expected = said(checkout)
    monkeypatch.setenv("GIT_DIR", str(checkout / "nowhere"))
    assert said(checkout) == expected


def test_a_copy_inside_somebody_elses_repository_does_not_say_their_commit(checkout):
    inside = checkout / "lib" / "site-packages"
    shutil.copytree(checkout / "benchmark", inside / "benchmark")
    assert said(inside) == RELEASE


def test_without_git_the_release_alone_is_said(checkout, monkeypatch):
    monkeypatch.setenv("PATH", str(checkout / "empty"))
    assert said(checkout) == RELEASE


def test_the_citation_is_of_this_release():
    cited = re.search(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)
    assert cited[1] == RELEASE


@pytest.mark.parametrize(
    ("noted", "commit"),
    [
        ({"url": "u", "vcs_info": {"vcs": "git", "commit_id": "1a2b3c4d5e6f" + "0" * 28}}, "1a2b3c4d5e"),
        ({"url": "u", "dir_info": {}}, ""),
        ({"vcs_info": {"commit_id": "<b> x"}}, ""),
        ([], ""),
        (None, ""),
    ],
)  # fmt: skip
def test_an_installed_copy_says_the_commit_that_its_installer_noted(tmp_path, noted, commit):
    folder = tmp_path / "purifybench-0.dist-info"
    folder.mkdir()
    if noted is not None:
        (folder / "direct_url.json").write_text(json.dumps(noted))
    assert commit_of(Distribution.at(folder)) == commit


def test_the_command_says_it(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"bench, version {full_version()}\n"
    assert full_version().startswith(RELEASE)
