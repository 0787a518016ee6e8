"""Ctrl-C, SIGTERM, SIGHUP at any time: one line, a status of its own, nothing left; it goes on from there."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from benchmark.cli import main
from benchmark.compute.interrupts import MESSAGE
from benchmark.evaluation.execute.run import run
from benchmark.files import atomic as files
from benchmark.records.entry import without_timing
from tests.helpers.child_processes import files_below, hear_interrupts, session, within, words_of
from tests.helpers.malicious_plugins import PROTOCOL
from tests.helpers.tiny_task import request

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
WITH_AUTOATTACK = (
    PROTOCOL
    + """
  - {id: autoattack, column: autoattack, knowledge: white-box, attack: autoattack,
     gradients: [best], counts: deterministic}
"""
)
RUN = ["run", "--protocol", "mini.yaml", "--defense", "none", "--device", "cpu", "--samples", "4"]
TRAIN = ["train", "--classifier", "digits-mlp", "--out", "w.safetensors", "--device", "cpu"]


class Bench:
    """A real `bench` at a terminal of its own, as far as signals go: Ctrl-C reaches all its processes."""

    def __init__(self, folder: Path, words: list[str]) -> None:
        self.folder = folder
        self.temporary = folder / "tmp"
        self.temporary.mkdir(exist_ok=True)
        (folder / "mini.yaml").write_text(WITH_AUTOATTACK)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmark", *words],
            cwd=folder,
            env=os.environ
            | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "TMPDIR": str(self.temporary)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=hear_interrupts,
        )

    def has_mapped(self, library: str) -> bool:
        """Whether a shared library is in use: how far the start has come."""
        maps = Path(f"/proc/{self.process.pid}/maps")
        return library in (maps.read_text() if maps.exists() else "")

    def family(self) -> list[int]:
        """Every process of this one's session and, started by it, of any other; zombies excepted."""
        return session(self.process.pid)

    def runs_autoattack(self) -> bool:
        return any(
            "benchmark.engine.attacking.own_process" in words_of(pid) for pid in self.family()
        )

    def leftovers(self) -> list[Path]:
        """What lies in the temporary folder, torch's own lasting cache excepted."""
        found = self.temporary.iterdir()
        return [path for path in found if not path.name.startswith("torchinductor_")]

    def interrupt(self, number: int = signal.SIGINT) -> list[str]:
        """What is wrong after Ctrl-C, or another signal; empty where all is as it should be."""
        for pid in self.family():
            with contextlib.suppress(ProcessLookupError):
                if os.getpgid(pid) == self.process.pid:
                    os.kill(pid, number)
        out, err = self.process.communicate(timeout=60)
        wrong = []
        if self.process.returncode != 128 + number:
            wrong.append(f"status {self.process.returncode}")
        if [line for line in err.splitlines() if line.strip()] != [MESSAGE] or out:
            wrong.append(f"said {out + err}")
        if not within(10, lambda: not self.family()):
            wrong.append(f"left processes {self.family()}")
        if not within(5, lambda: not self.leftovers()):
            wrong.append(f"left {self.leftovers()}")
        if files_below(self.folder, ".part"):
            wrong.append("left half-written files")
        return wrong


SIGNALS = {
    "first shard": signal.SIGINT,
    "workers": signal.SIGTERM,
    "AutoAttack": signal.SIGHUP,
}


@pytest.fixture(autouse=True)
def hangups():
    """Lets children hear a hang-up, whoever runs the tests (nohup ignores it, and children inherit that)."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


STARTING = [
    "_ctypes.",
    "_pydantic_core.",
    "_multiarray_umath.",
    "libtorch_cpu.",
    "libtorch_python.",
]


def test_interrupted_while_it_starts_it_says_so_in_one_line(tmp_path):
    started = {}
    for library in STARTING:
        (tmp_path / library).mkdir()
        started[library] = Bench(tmp_path / library, RUN)
    for library, bench in started.items():
        assert within(120, lambda b=bench, name=library: b.has_mapped(name)), library
        assert bench.interrupt() == [], library


@pytest.mark.timeout(900)
def test_interrupted_at_any_stage_of_a_run_it_goes_on_to_the_same_entry(
    tmp_path, monkeypatch, capfd
):
    stages = {
        "first shard": lambda bench: list(tmp_path.glob("runs/*/*/*.shard")),
        "workers": lambda bench: len(bench.family()) > 2,
        "AutoAttack": lambda bench: bench.runs_autoattack(),
    }
    for name, reached in stages.items():
        workers = "2" if name == "workers" else "1"
        bench = Bench(tmp_path, [*RUN, "--workers", workers])
        assert within(120, lambda b=bench, r=reached: r(b)), name
        assert bench.interrupt(SIGNALS[name]) == [], name
        if name == "workers":
            bench = Bench(tmp_path, [*RUN, "--workers", "2"])
            assert within(120, bench.runs_autoattack), "AutoAttack in a worker"
            assert bench.interrupt() == [], "AutoAttack in a worker"
    monkeypatch.chdir(tmp_path)
    assert main([*RUN, "--workers", "1", "--json"]) == 0
    (entry,) = json.loads(capfd.readouterr().out)
    assert main([*RUN, "--workers", "1", "--json", "--runs", "elsewhere"]) == 0
    (expected,) = json.loads(capfd.readouterr().out)
    assert entry["per_image"] == expected["per_image"]
    assert entry["status"] == "complete"


def test_interrupted_in_training_it_goes_on_and_leaves_nothing_behind(tmp_path, monkeypatch):
    bench = Bench(tmp_path, TRAIN)
    assert within(120, lambda: (tmp_path / "w.safetensors.part-checkpoint").exists())
    assert bench.interrupt() == []
    assert not (tmp_path / "w.safetensors").exists()
    monkeypatch.chdir(tmp_path)
    assert main(TRAIN) == 0
    assert (tmp_path / "w.safetensors").exists()
    assert not (tmp_path / "w.safetensors.part-checkpoint").exists()


class InterruptedOs:
    """The `os` module of `benchmark.files.atomic` under a Ctrl-C at the k-th call of any kind."""

    def __init__(self, k: int) -> None:
        self.k = k

    def __getattr__(self, name):
        if name in ("open", "fdopen", "fsync", "replace", "close"):
            self.k -= 1
            if self.k == 0:
                raise KeyboardInterrupt
        return getattr(os, name)


def test_interrupted_while_anything_is_written_nothing_is_half_written(tmp_path, monkeypatch):
    expected = without_timing(run(request(tmp_path / "whole")))
    for k in (*range(1, 12, 2), 16, 40, 90):
        monkeypatch.setattr(files, "os", InterruptedOs(k))
        with contextlib.suppress(KeyboardInterrupt):
            run(request(tmp_path / "runs"))
        monkeypatch.undo()
        left = [path for path in tmp_path.rglob("*") if path.is_file()]
        assert {path.suffix for path in left} <= {".shard", ".json", ".safetensors"}, k
    assert without_timing(run(request(tmp_path / "runs"))) == expected
