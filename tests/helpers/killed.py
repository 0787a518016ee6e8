"""SIGKILL at random moments of a real process tree with two workers: nothing is lost, and nothing is left.

    python -m tests.helpers.killed 100

kills the caller of a run, one of its workers, or all its processes in turn, and gives the same command again,
until so many kills are done. Each run that comes to its end must make the entry of an undisturbed one. A caller
is forked from a process that has imported everything, so that the moments are those of a run and not of
imports; its workers start as ever.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path

from benchmark.__main__ import main as run_bench
from benchmark.records.entry import Entry, without_timing
from benchmark.records.entry_files import read_entry
from tests.helpers.child_processes import files_below, session, within, words_of

PROTOCOL = """
name: mini
version: 1
summary: a source, its transfer and two attacks in many shards
samples: 8
shard_size: 2
criterion: {draws: 2, vote: 1, any_of: 1}
sources:
  - {id: made, attack: pgd, against: bare, arguments: {steps: 3, loss: margin, keep: max_margin}}
attacks:
  - {id: clean, column: clean, knowledge: oblivious, attack: clean}
  - {id: oblivious, column: oblivious, knowledge: oblivious, attack: transfer, sources: [made]}
  - {id: pgd, column: adaptive, knowledge: white-box, attack: pgd, gradients: [exact, bpda], eot: 2,
     arguments: {steps: 10}}
"""
WORDS = ["run", "--protocol", "mini.yaml", "--defense", "gaussian", "--dataset", "digits"]
WORDS += ["--device", "cpu", "--workers", "2", "--runs", "runs", "--results", "boards"]
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["benchmark.cli", "benchmark.evaluation.execute.run"])
WHOM = ("caller", "worker", "all")
END_SECONDS = 30.0
"""How long what is left of a killed run may take to end."""


@dataclass
class Report:
    """What happened.

    Args:
        kills: Of whom, and when: `caller while starting`.
        finished: Runs that came to their end after the undisturbed one.
        wrong: What should not have been.
    """

    kills: Counter[str] = field(default_factory=Counter)
    finished: int = 0
    wrong: list[str] = field(default_factory=list)


class Runs:
    """Runs of one command in one folder, killed or not.

    Args:
        folder: Empty.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.temporary = folder / "tmp"
        self.temporary.mkdir()
        self.pids: list[int] = []
        self.seconds = 0.0
        (folder / "mini.yaml").write_text(PROTOCOL)

    def start(self) -> BaseProcess:
        process = CONTEXT.Process(target=bench, args=(self.folder, self.temporary))
        process.start()
        self.pids.append(process.pid or 0)
        return process

    def entry(self) -> Entry:
        (path,) = (self.folder / "boards").rglob("gaussian*.json")
        return without_timing(read_entry(path))

    def begin_anew(self) -> None:
        for name in ("runs", "boards"):
            shutil.rmtree(self.folder / name, ignore_errors=True)

    def stage(self) -> str:
        """How far a run has come."""
        if any(self.temporary.glob("purifybench-*/worker-*")):
            return "with workers at work"
        return "with workers" if any(self.temporary.glob("purifybench-*")) else "alone"

    def left_behind(self) -> list[str]:
        """What a run that came to its end has left of itself and of those killed before."""
        found = list(self.temporary.glob("purifybench-*"))
        found += files_below(self.folder / "runs", ".part") + files_below(
            self.folder / "boards", ".part"
        )
        for pid in self.pids:
            found += Path("/dev/shm").glob(f"sem.loky-{pid}-*")
        return [str(path) for path in found]


def bench(folder: Path, temporary: Path) -> None:
    """`bench run`, in a session of its own."""
    os.setsid()
    os.chdir(folder)
    os.environ["TMPDIR"] = str(temporary)
    tempfile.tempdir = None
    said = os.open("stderr.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(said, stream)
    sys.argv = ["bench", *WORDS]
    run_bench()


def victims(caller: int, whom: str) -> list[int]:
    """The processes to kill: the caller where there is no worker."""
    family = session(caller)
    if whom == "all":
        return family
    workers = [pid for pid in family if "popen_loky_posix" in words_of(pid)]
    return [random.choice(workers) if whom == "worker" and workers else caller]


def kill_at_random(runs: Runs, report: Report, whom: str, most: float | None) -> bool:
    """Starts a run and kills within so many seconds, or not; whether it came to its end all the same."""
    process = runs.start()
    caller, since = runs.pids[-1], time.monotonic()
    process.join(most and random.uniform(0, most))
    if process.is_alive():
        stage, killed = runs.stage(), victims(caller, whom)
        name = "all" if len(killed) > 1 else "caller" if killed == [caller] else "worker"
        for pid in killed:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        report.kills[f"{name} {stage}"] += 1
        print(
            f"{report.kills.total()}: {name} {stage}, {report.finished} runs finished", flush=True
        )
    process.join()
    runs.seconds = time.monotonic() - since
    if not within(END_SECONDS, lambda: not session(caller)):
        report.wrong.append(f"processes left: {session(caller)}")
    if process.exitcode not in (0, -signal.SIGKILL):
        said = (runs.folder / "stderr.txt").read_text()[-300:]
        report.wrong.append(f"status {process.exitcode}: {said}")
    return process.exitcode == 0


def kill_repeatedly(folder: Path, kills: int, seed: int = 0) -> Report:
    """Kills so many times, and holds what comes of it against an undisturbed run.

    Args:
        folder: Empty.
        kills: How many.
        seed: Of the moments.
    """
    random.seed(seed)
    runs, report = Runs(folder), Report()
    if not kill_at_random(runs, report, "nobody", None):
        return report
    expected, whole = runs.entry(), runs.seconds
    is_last = False
    while not is_last and not report.wrong:
        killed = report.kills.total()
        is_last = killed >= kills
        whom = WHOM[killed % len(WHOM)]
        if not kill_at_random(runs, report, whom, None if is_last else whole):
            continue
        report.finished += 1
        if runs.entry() != expected:
            report.wrong.append(f"another entry after {killed} kills")
        report.wrong += [f"left behind: {path}" for path in runs.left_behind()]
        runs.begin_anew()
    return report


def main(kills: int) -> int:
    """Prints the report; 1 where something is wrong."""
    since = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        report = kill_repeatedly(Path(folder), kills, seed=kills)
    print(f"{report.kills.total()} kills in {time.monotonic() - since:.0f} s")
    for what, count in sorted(report.kills.items()):
        print(f"  {count:4d} {what}")
    print(f"{report.finished} runs came to their end; the same entry each time: {not report.wrong}")
    for line in report.wrong:
        print(f"WRONG: {line}")
    return 1 if report.wrong else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
