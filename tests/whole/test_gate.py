"""The gate of docs/ci on a package of its own: better, worse, undecided, unchanged and crashing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
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

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def gate(tmp_path_factory):
    """Runs the gate between two versions of the sample package, in one folder for all tests."""
    folder = tmp_path_factory.mktemp("gate")
    (folder / "tiny.yaml").write_text(PROTOCOL)

    def run(base, candidate):
        for name, change in (("base", base), ("candidate", candidate)):
            shutil.rmtree(folder / name, ignore_errors=True)
            shutil.copytree(SAMPLE, folder / name)
            file = folder / name / "sample_purifier.py"
            old, new = change
            assert file.read_text().count(old) == 1
            file.write_text(file.read_text().replace(old, new))
        words = ["--threat", "linf:0.04", "--protocol", "tiny.yaml", "--workers", "1"]
        return subprocess.run(
            ["sh", str(ROOT / "docs/ci/gate.sh"), "base", "candidate", "sample-contrast", *words],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
            cwd=folder,
            env=os.environ | {"PYTHON": sys.executable, "PYTHONPATH": str(ROOT)},
        )

    run.folder = folder
    return run


def weight(value):
    return ("WEIGHT = 0.3", f"WEIGHT = {value}")


def keys(folder, side):
    """The jobs of a side's entry."""
    (entry,) = (folder / f"gate/{side}/leaderboards").rglob("sample*.json")
    return {row["job_key"] for row in json.loads(entry.read_text())["attacks"]}


def test_an_improvement_passes(gate):
    done = gate(weight(0.8), weight(0.0))
    assert done.returncode == 0, done.stderr
    assert "Held" in done.stdout
    assert (gate.folder / "gate/comment.md").read_text().startswith("### ✅ sample-contrast on")


def test_a_regression_does_not_and_an_edited_plugin_reuses_no_shard(gate):
    done = gate(weight(0.0), weight(0.79))
    assert done.returncode == 1, done.stderr
    assert "Fell" in done.stdout
    assert not keys(gate.folder, "base") & keys(gate.folder, "candidate")


def test_what_96_images_cannot_tell_is_inconclusive_and_says_how_many_could(gate):
    done = gate(weight(0.0), weight(0.24))
    assert done.returncode == 3, done.stdout + done.stderr
    assert "images would decide (--samples " in done.stdout


def test_an_unchanged_package_is_the_very_same_evaluation(gate):
    done = gate(weight(0.0), weight(0.0))
    assert done.returncode == 0, done.stderr
    assert "the very same jobs" in done.stdout


def test_a_crash_under_attack_is_not_comparable_and_is_named(gate):
    crash = "if x.requires_grad:\n            raise RuntimeError('out of ideas')\n        return (1 - WEIGHT)"
    done = gate(weight(0.0), ("return (1 - WEIGHT)", crash))
    assert done.returncode == 2, done.stdout
    assert "out of ideas" in done.stderr
    assert "has a gap" in (gate.folder / "gate/comment.md").read_text()


def test_a_candidate_that_runs_on_nothing_is_not_said_to_have_fallen(gate):
    done = gate(weight(0.0), ("return (1 - WEIGHT)", "raise RuntimeError('out of ideas')  #"))
    assert done.returncode == 2, done.stdout
    assert "out of ideas" in done.stderr
    assert "could not be evaluated" in (gate.folder / "gate/comment.md").read_text()
