"""A real process killed with SIGKILL at many points: run again, the same entry bit for bit except timing."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from benchmark.errors import BenchError
from benchmark.evaluation.execute.run import run
from benchmark.files import atomic as files
from benchmark.records.entry import without_timing
from benchmark.records.entry_files import read_entry, write_shown
from benchmark.records.example_sheets import read_sheet
from tests.helpers.child_processes import files_below, is_running, within
from tests.helpers.entry_with_examples import pictured
from tests.helpers.tiny_task import request

pytestmark = pytest.mark.slow

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    ["torch", "benchmark.evaluation.execute.run", "tests.helpers.tiny_task"]
)


class KillingFile:
    """A file that kills its process once so many bytes were written by it and its likes."""

    left = 0

    def __init__(self, inner):
        self.inner = inner

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.inner.close()

    def write(self, content):
        if len(content) >= KillingFile.left:
            self.inner.write(content[: KillingFile.left])
            self.inner.flush()
            os.kill(os.getpid(), signal.SIGKILL)
        KillingFile.left -= len(content)
        return self.inner.write(content)

    def __getattr__(self, name):
        return getattr(self.inner, name)


class KillingOs:
    """The `os` module of `benchmark.files.atomic`, with a kill planted before or after a rename."""

    def __init__(self, *, rename: int, when: str):
        self.rename = rename
        self.when = when

    def fdopen(self, *arguments):
        return KillingFile(os.fdopen(*arguments)) if self.when == "bytes" else os.fdopen(*arguments)

    def replace(self, source, target):
        self.rename -= 1
        if self.rename == 0 and self.when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        os.replace(source, target)  # noqa: PTH105 (it stands in for that very function)
        if self.rename == 0 and self.when == "after":
            os.kill(os.getpid(), signal.SIGKILL)

    def __getattr__(self, name):
        return getattr(os, name)


def evaluate_and_die(folder, when, point):
    KillingFile.left = point if when == "bytes" else 1 << 60
    files.os = KillingOs(rename=point, when=when)
    run(request(folder))
    os._exit(0)  # the point lay past the end: nothing was killed


def publish_and_die(path):
    files.os = KillingOs(rename=2, when="before")
    entry, sheet = pictured(is_bare=True)
    write_shown(entry, sheet, path)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    entry = run(request(folder))
    written = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    return without_timing(entry), sum(written), len(written)


def test_killed_between_a_sheet_and_its_entry_the_old_entry_is_whole_and_the_sheet_refused(
    tmp_path,
):
    path = tmp_path / "toy--net.json"
    old, sheet = pictured()
    write_shown(old, sheet, path)
    child = CONTEXT.Process(target=publish_and_die, args=(path,))
    child.start()
    child.join(120)
    assert child.exitcode == -signal.SIGKILL
    assert read_entry(path) == old
    with pytest.raises(BenchError, match="not the sheet of its entry"):
        read_sheet(path, old)
    write_shown(old, sheet, path)
    assert read_sheet(path, old) == sheet


def test_workers_end_with_a_caller_that_is_killed(tmp_path):
    words = [sys.executable, "-m", "benchmark", "run", "--defense", "none", "--workers", "2"]
    root = str(Path(__file__).resolve().parents[2])
    caller = subprocess.Popen(
        words, cwd=tmp_path, env={**os.environ, "PYTHONPATH": root}, stderr=subprocess.DEVNULL
    )
    try:
        assert within(90, lambda: files_below(tmp_path, ".shard"))
        children = Path(f"/proc/{caller.pid}/task/{caller.pid}/children").read_text().split()
        assert len(children) >= 2
    finally:
        caller.kill()
        caller.wait()
    assert within(30, lambda: not any(is_running(int(child)) for child in children))


def points(whole):
    _, n_bytes, n_files = whole
    spread = [("bytes", max(1, round(n_bytes * share / 14))) for share in range(14)]
    renames = [
        (when, place) for when in ("before", "after") for place in (1, n_files // 2, n_files)
    ]
    return spread + renames


def test_killed_anywhere_and_run_again_it_ends_with_the_same_entry(whole, tmp_path):
    expected = whole[0]
    for when, point in points(whole):
        folder = tmp_path / f"{when}-{point}"
        child = CONTEXT.Process(target=evaluate_and_die, args=(folder, when, point))
        child.start()
        child.join(120)
        assert child.exitcode == -signal.SIGKILL, f"{when} {point}: exit code {child.exitcode}"
        assert without_timing(run(request(folder))) == expected, f"killed {when} {point}"


def test_killed_again_and_again_it_still_ends_with_the_same_entry(whole, tmp_path):
    expected, n_bytes, _ = whole
    for _ in range(4):
        child = CONTEXT.Process(target=evaluate_and_die, args=(tmp_path, "bytes", n_bytes // 5))
        child.start()
        child.join(120)
        assert child.exitcode in (-signal.SIGKILL, 0)
    assert without_timing(run(request(tmp_path))) == expected
