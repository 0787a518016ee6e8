"""The gate of docs/ci on a package of its own: unchanged, better, worse, undecided, commented, crashing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
GATE = ROOT / "docs" / "ci" / "gate.sh"
SAMPLE = ROOT / "tests" / "sample_plugin"
PROTOCOL = """
name: tiny
version: 1
summary: enough to tell purifiers apart
samples: 96
shard_size: 48
attacks:
  - {id: clean, column: clean, knowledge: oblivious, attack: clean}
  - {id: pgd, column: adaptive, knowledge: white-box, attack: pgd, gradients: [exact], arguments: {steps: 5}}
"""
HATCHLING = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "sample-purifier"
version = "1.0"
[project.entry-points."purifybench.defenses"]
sample-contrast = "sample_purifier:Contrast"
[tool.hatch.build.targets.wheel]
sources = ["src"]
only-include = ["src/sample_purifier.py"]
"""
POETRY = """
[build-system]
requires = ["poetry-core"]
build-backend = "poetry.core.masonry.api"
[tool.poetry]
name = "sample-purifier"
version = "1.0"
description = "A purifier as another package brings it."
authors = []
packages = [{include = "sample_purifier.py"}]
[tool.poetry.plugins."purifybench.defenses"]
sample-contrast = "sample_purifier:Contrast"
"""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


class Desk:
    """A folder with the sample package as the base, held against itself in one go, and then against others."""

    def __init__(self, folder):
        self.folder = folder
        (folder / "tiny.yaml").write_text(PROTOCOL)
        shutil.copytree(SAMPLE, folder / "base")
        shutil.copytree(SAMPLE, folder / "candidate")
        self.unchanged = self.script("base", "candidate", *self.options)
        assert self.unchanged.returncode == 0, self.unchanged.stdout + self.unchanged.stderr
        self.same_keys = self.keys("base") == self.keys("candidate")

    options = (
        "sample-contrast",
        "--threat",
        "linf:0.04",
        "--protocol",
        "tiny.yaml",
        "--workers",
        "1",
    )

    def script(self, *words):
        return subprocess.run(
            ["sh", str(GATE), *words],
            capture_output=True,
            text=True,
            timeout=550,
            check=False,
            cwd=self.folder,
            env=os.environ
            | {"PYTHON": sys.executable, "PYTHONPATH": str(ROOT)}
            | {"PIP_NO_INDEX": "1"},
        )

    def hold(self, new, *, package=None, src=False, old="WEIGHT = 0.3"):
        """The candidate with one line changed, evaluated and held against the base."""
        candidate = self.folder / "candidate"
        shutil.rmtree(candidate, ignore_errors=True)
        shutil.copytree(SAMPLE, candidate)
        file = candidate / "sample_purifier.py"
        assert file.read_text().count(old) == 1
        file.write_text(file.read_text().replace(old, new))
        if package:
            (candidate / "pyproject.toml").write_text(package)
        if src:
            (candidate / "src").mkdir()
            file.rename(candidate / "src" / file.name)
        self.script("--evaluate", "candidate", "candidate", *self.options)
        return self.script("--compare", "sample-contrast")

    def keys(self, side):
        """The jobs of a side's entry."""
        (entry,) = (self.folder / f"gate/{side}/results").rglob("sample*.json")
        return {row["job_key"] for row in json.loads(entry.read_text())["attacks"]}


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    return Desk(tmp_path_factory.mktemp("gate"))


def test_all_of_it_in_one_go_holds_an_unchanged_package_for_the_very_same_jobs(desk):
    assert "the very same jobs" in desk.unchanged.stdout
    assert desk.same_keys


def test_an_improvement_passes_also_in_a_package_of_poetrys(desk):
    pytest.importorskip("poetry.core")
    done = desk.hold("WEIGHT = 0.15", package=POETRY)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Held: that the worst case lost more than 5 points is ruled out" in done.stdout
    assert (desk.folder / "gate/comment.md").read_text().startswith("### ✅ sample-contrast on")


def test_a_regression_does_not_and_an_edited_plugin_reuses_no_shard(desk):
    done = desk.hold("WEIGHT = 0.4")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Fell" in done.stdout
    assert not desk.keys("base") & desk.keys("candidate")


def test_what_96_images_cannot_tell_is_inconclusive_and_says_how_many_could(desk):
    done = desk.hold("WEIGHT = 0.32")
    assert done.returncode == 3, done.stdout + done.stderr
    assert "images would decide (--samples " in done.stdout


def test_another_comment_is_no_change_even_with_no_tolerance_in_a_package_of_hatchs(
    desk, monkeypatch
):
    pytest.importorskip("hatchling")
    monkeypatch.setenv("TOLERANCE", "0")
    done = desk.hold("WEIGHT = 0.3  # of 1", package=HATCHLING, src=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "**Held: both are the outcome of t" in done.stdout
    assert desk.keys("base") == desk.keys("candidate"), "no comment is part of a key"


def test_a_crash_under_attack_is_not_comparable_and_is_named(desk):
    crash = "if x.requires_grad:\n            raise RuntimeError('out of ideas')\n        return (1 - WEIGHT)"
    done = desk.hold(crash, old="return (1 - WEIGHT)")
    assert done.returncode == 2, done.stdout
    assert "out of ideas" in done.stderr
    comment = (desk.folder / "gate/comment.md").read_text()
    assert comment.startswith("### ⚠️ cannot be compared")
    assert "RuntimeError: out of ideas" in comment
