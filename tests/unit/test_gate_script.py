"""What docs/ci/gate.sh does around the evaluations: whom it believes, and how it ends; a stand-in evaluates."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmark.records.entry_files import write_entry
from tests.helpers.sample_entries import toy

GATE = Path(__file__).resolve().parents[2] / "docs" / "ci" / "gate.sh"
PYTHON = """#!/bin/sh
# makes an environment whose python runs the script `run` of the checkout that was installed last
case "$1 $2" in
"-m venv") mkdir -p "$5/bin"; cp "$0" "$5/bin/python" ;;
"- gate"*) cat > /dev/null ;;
"-m pip") for last; do :; done; echo "${last%/.}" > installed ;;
"-m benchmark")
    if [ "$3" = run ]; then sh "$(cat installed)/run" "$@"; else exec {real} "$@"; fi ;;
*) exec {real} "$@" ;;
esac
"""
WRITE = 'mkdir -p "$7" && cp {entry} "$7"\n'
"""Where a run writes its entry: behind `-m benchmark run --defense NAME --results`."""


@pytest.fixture
def gate(tmp_path):
    """Runs the gate with what evaluating each side does, as a script, and gives its status and its comment."""
    python = tmp_path / "python"
    python.write_text(PYTHON.replace("{real}", sys.executable))
    python.chmod(0o755)
    for name in ("good", "other"):
        write_entry(toy("toy", clean="1" * 64, pgd="1" * 64), tmp_path / f"{name}.json")

    def run(*, base="good", candidate, words=("base", "candidate", "toy")):
        for side, script in (("base", base), ("candidate", candidate)):
            (tmp_path / side).mkdir(exist_ok=True)
            text = WRITE.format(entry=tmp_path / f"{script}.json") if script == "good" else script
            (tmp_path / side / "run").write_text(text)
        done = subprocess.run(
            ["sh", str(GATE), *words],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            env=os.environ | {"PYTHON": str(python), "PYTHONPATH": str(GATE.parents[2])},
        )
        comment = tmp_path / "gate" / "comment.md"
        return done.returncode, comment.read_text() if comment.exists() else done.stderr

    run.folder = tmp_path
    return run


def test_a_candidate_that_runs_on_nothing_has_not_fallen_and_its_last_words_are_shown(gate):
    words = "echo first >&2; echo 'RuntimeError: `out` <b>of</b> ideas' >&2; exit 1\n"
    status, comment = gate(candidate=words)
    assert status == 2
    assert comment == (
        "### ⚠️ toy: the candidate could not be evaluated\n\nThe end of its output:\n\n"
        "    first\n    RuntimeError: `out` <b>of</b> ideas\n    status 1\n\n"
    )


def test_a_base_that_runs_on_nothing_is_not_the_candidates_fault(gate):
    status, comment = gate(base="echo no weights; exit 2\n", candidate="good")
    assert status == 2
    assert "### ⚠️ toy: the base could not be evaluated" in comment
    assert "    no weights\n" in comment


@pytest.mark.parametrize(
    "tamper",
    [
        "chmod -R u+w gate/base && echo '{}' > gate/base/results/good.json\n",
        "chmod -R u+w gate/base && cp gate/base/results/good.json gate/base/results/2.json\n",
        "chmod -R u+w gate/base && echo forged > gate/base/runs/shard\n",
    ],
    ids=["an entry rewritten", "an entry added", "a shard added"],
)
def test_a_candidate_that_touches_what_was_found_of_the_base_is_not_compared(gate, tamper):
    status, comment = gate(candidate=WRITE.format(entry=gate.folder / "good.json") + tamper)
    assert status == 2
    assert comment == "### ⚠️ toy: the candidate changed what was found of the base\n"


def test_a_candidate_of_fewer_rows_than_the_base_is_not_compared(gate):
    two = WRITE.format(entry=f"{gate.folder}/good.json {gate.folder}/other.json")
    status, comment = gate(base=two, candidate="good")
    assert status == 2
    assert "the candidate could not be evaluated" in comment


def test_each_side_has_shards_of_its_own_and_the_candidate_starts_from_a_copy_of_the_bases(gate):
    write = WRITE.format(entry=gate.folder / "good.json")
    status, comment = gate(
        base=write + "mkdir -p $9 && echo found > $9/shard\n",
        candidate=write + "grep found $9/shard && echo more > $9/own\n",
    )
    assert status == 0
    assert comment.startswith("### ✅ toy on net")
    assert [path.name for path in (gate.folder / "gate/base/runs").iterdir()] == ["shard"]
    assert (gate.folder / "gate/candidate/runs/own").read_text() == "more\n"


@pytest.mark.parametrize(
    "words", [(), ("base", "candidate"), ("--evaluate", "both", "base", "toy"), ("--compare",)]
)
def test_a_wrong_call_is_answered_by_how_to_call_it(gate, words):
    status, said = gate(candidate="good", words=words)
    assert status == 2
    assert "gate.sh BASE CANDIDATE DEFENSE [options of bench run]" in said
