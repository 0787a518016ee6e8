"""The command line: what a person types, what comes back, and with which exit status."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmark.cli import main
from tests.helpers.child_processes import files_below, hear_interrupts

pytestmark = pytest.mark.slow


def bench(*words, **options):
    """A real `bench` process, as a user starts it."""
    return subprocess.run(
        [sys.executable, "-m", "benchmark", *words],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        **options,
    )


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["run", "--help"],
        ["train", "--help"],
        ["check", "--help"],
        ["selftest", "--help"],
        ["list", "defenses"],
        ["list", "attacks"],
        ["list", "models"],
        ["list", "datasets"],
        ["list", "protocols"],
        ["list", "folders"],
        ["--version"],
    ],
)
def test_help_and_lists_start_no_torch(words):
    code = (
        "import sys; from benchmark.cli import main; status = main(sys.argv[1:]); "
        "sys.exit(status if 'torch' not in sys.modules else 99)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


@pytest.mark.parametrize(
    "what", ["defenses", "attacks", "models", "datasets", "protocols", "folders"]
)
def test_every_list_can_be_read_by_a_program(what, capsys):
    assert main(["list", what, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert all(row["name"] for row in rows)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["run", "--defense", "atp"], "Did you mean 'atop'"),
        (["run", "--defense", "atop+"], "chain"),
        (["run", "--model", "digits-cn"], "Did you mean"),
        (["run", "--dataset", "digit"], "Did you mean 'digits'"),
        (["run", "--protocol", "quik"], "Did you mean 'quick'"),
        (["run", "--protocol", "nowhere.yaml"], "no protocol file"),
        (["run", "--threat", "linf:-1"], "above 0"),
        (["run", "--threat", "linf:8/"], "expected NORM:EPS"),
        (["run", "--threat", "l7:1"], "expected NORM:EPS"),
        (["run", "--samples", "0"], "samples"),
        (["run", "--defense", "none", "--samples", "100000"], "test images"),
        (["run", "--defense", "none", "--data", "nowhere", "--dataset", "mnist"], "nowhere"),
        (["run", "--defense", "atop", "--weights", "nowhere.safetensors"], "nowhere.safetensors"),
        (
            ["run", "--defense", "jpeg", "--weights", "any.safetensors"],
            "no weights file 'any.safetens",
        ),
        (["run", "--defense", "jpeg", "--weights", __file__], "'jpeg' has no weights"),
        (["run", "--defense", "atop+jpeg", "--weights", __file__], "part of a chain"),
        (["run", "--device", "cuda:7"], "is not there"),
        (["run", "--defense", "gaussian", "--defense-arg", "sigma"], "key=value"),
        (["run", "--defense-arg", "sigma=1"], "write NAME.ARGUMENT"),
        (["run", "--runs", "FILE/runs"], "cannot write"),
        (["run", "--results", "FILE/boards"], "cannot write"),
        (["run", "--nonsense"], "No such option"),
        (["train"], "--defense or --classifier"),
        (["train", "--defense", "jpeg"], "nothing to be trained"),
        (["check", "nobody"], "no defense or attack is called"),
    ],
)
def test_a_mistake_is_one_line_and_status_2_and_leaves_nothing(
    words, expected, tmp_path, capfd, monkeypatch
):
    if "cuda:7" in words:
        import torch

        if torch.cuda.device_count() > 7:
            pytest.skip("this machine has that many GPUs")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "FILE").write_text("a file, not a folder")
    assert main(words) == 2
    captured = capfd.readouterr()
    assert expected in captured.err
    assert "Traceback" not in captured.err
    said = [
        line
        for line in captured.err.splitlines()
        if line.strip() and not line.startswith(("Usage", "Try"))
    ]
    assert len(said) == 1
    assert list(tmp_path.rglob("*.shard")) == []
    assert list(tmp_path.rglob("*.json")) == []


def test_truncated_weights_are_named(tmp_path, capfd, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cut.safetensors").write_bytes(b"\x10\x00\x00\x00\x00\x00\x00\x00{")
    assert main(["run", "--defense", "atop", "--weights", "cut.safetensors"]) == 2
    assert "cut.safetensors" in capfd.readouterr().err


def test_a_defense_without_weights_says_how_to_train_it(tmp_path, capfd, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["run", "--defense", "atop", "--model", "digits-mlp", "--samples", "4"]) == 2
    assert (
        "bench train --defense atop --model digits-mlp --dataset digits" in capfd.readouterr().err
    )


def test_a_class_in_the_current_folder_is_found_by_the_installed_command(tmp_path):
    (tmp_path / "mine_here.py").write_text("from defenses.none import Identity as Mine\n")
    code = (
        "import sys; sys.path.pop(0); from benchmark.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "check", "mine_here:Mine"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env=environment(),
    )
    assert done.returncode == 0, done.stderr + done.stdout


def test_an_evaluation_ends_with_a_table_entries_and_a_page(tmp_path):
    done = bench("run", "--defense", "none", "--samples", "6", cwd=tmp_path, env=environment())
    assert done.returncode == 0, done.stderr
    assert "digits-cnn alone" in done.stdout
    assert "\x1b" not in done.stdout + done.stderr, "no colours or bars where there is no terminal"
    (entry,) = tmp_path.glob("results/digits/linf-0.15/*.json")
    assert json.loads(entry.read_text())["status"] == "complete"
    assert "digits-cnn, undefended" in (entry.parent / "README.md").read_text()
    again = bench(
        "run", "--defense", "none", "--samples", "6", "--json", cwd=tmp_path, env=environment()
    )
    assert json.loads(again.stdout)[0]["per_image"] == json.loads(entry.read_text())["per_image"]


LONG = """
name: long
version: 1
summary: a clean row, and attacks that take their time
samples: 40
shard_size: 5
attacks:
  - {id: clean, column: clean, knowledge: oblivious, attack: clean}
  - {id: pgd, column: adaptive, knowledge: white-box, attack: pgd, gradients: [best], arguments: {steps: 200}}
"""


def test_interrupted_it_says_so_and_goes_on_from_there(tmp_path):
    (tmp_path / "long.yaml").write_text(LONG)
    words = [
        sys.executable,
        "-m",
        "benchmark",
        "run",
        "--defense",
        "none",
        "--protocol",
        "long.yaml",
    ]
    child = subprocess.Popen(
        words,
        cwd=tmp_path,
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=hear_interrupts,
    )
    deadline = time.monotonic() + 120
    while not files_below(tmp_path, ".shard") and time.monotonic() < deadline:
        time.sleep(0.02)
    child.send_signal(signal.SIGINT)
    _, said = child.communicate(timeout=60)
    assert child.returncode == 130, said
    assert "interrupted" in said
    assert "Traceback" not in said
    assert not list(tmp_path.rglob("*.part"))
    assert bench(*words[3:], cwd=tmp_path, env=environment()).returncode == 0


def environment():
    """The environment, with this checkout importable from any folder."""
    root = str(Path(__file__).resolve().parents[2])
    return {**os.environ, "PYTHONPATH": root, "OMP_NUM_THREADS": "1"}
