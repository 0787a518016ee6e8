"""Disks that fill, folders that vanish, several runs at once: nothing half-written, the same entry at last."""

from __future__ import annotations

import contextlib
import errno
import json
import multiprocessing
import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from benchmark.cli import main
from benchmark.errors import BenchError
from benchmark.evaluation.execute.run import run
from benchmark.files import atomic as files
from benchmark.files.atomic import refuse_unwritable, write_whole
from benchmark.identity.content_names import without_content
from benchmark.publishing.leaderboard.publish import publish_folder
from benchmark.publishing.leaderboard.write_entries import publish_rows, write_row
from benchmark.records.entry import without_timing
from benchmark.records.entry_files import read_entry
from tests.helpers.malicious_plugins import mini, one_line
from tests.helpers.sample_entries import cells, toy
from tests.helpers.tiny_task import Noise, request

pytestmark = pytest.mark.slow

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    ["torch", "benchmark.evaluation.execute.run", "tests.helpers.tiny_task"]
)


class FullOs:
    """The `os` module of `benchmark.files.atomic` on a disk that is full at the k-th operation of one kind."""

    def __init__(self, operation: str, k: int) -> None:
        self.operation = operation
        self.k = k

    def _count(self, operation: str) -> None:
        if operation == self.operation:
            self.k -= 1
            if self.k == 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def open(self, *arguments):
        self._count("open")
        return os.open(*arguments)

    def fdopen(self, *arguments):
        file = os.fdopen(*arguments)
        return FullFile(file, self) if self.operation == "write" else file

    def fsync(self, handle):
        self._count("fsync")
        os.fsync(handle)

    def replace(self, source, target):
        self._count("replace")
        os.replace(source, target)  # noqa: PTH105 (it stands in for that very function)

    def __getattr__(self, name):
        return getattr(os, name)


class FullFile:
    """A file of which half is written when the disk is full."""

    def __init__(self, inner, disk: FullOs) -> None:
        self.inner = inner
        self.disk = disk

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.inner.close()

    def write(self, content):
        try:
            self.disk._count("write")
        except OSError:
            self.inner.write(content[: len(content) // 2])
            self.inner.flush()
            raise
        return self.inner.write(content)

    def __getattr__(self, name):
        return getattr(self.inner, name)


KEPT = (".shard", ".json", ".safetensors")
"""Shards and what they are of, and fingerprints."""


def everything(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    return without_timing(run(request(folder)))


@pytest.mark.parametrize("operation", ["open", "write", "fsync", "replace"])
def test_a_disk_that_is_full_again_and_again_ends_with_the_same_entry(
    whole, tmp_path, monkeypatch, operation
):
    for k in (1, 2, 3, 6, 9, 15, 40):
        monkeypatch.setattr(files, "os", FullOs(operation, k))
        try:
            run(request(tmp_path))
        except BenchError as error:
            said = str(error)
        else:
            break
        assert "No space left on device" in said
        assert "\n" not in said
        assert all(path.suffix in KEPT for path in everything(tmp_path))
    monkeypatch.undo()
    assert without_timing(run(request(tmp_path))) == whole


def test_a_disk_that_is_full_while_publishing_leaves_whole_files_or_none(tmp_path, monkeypatch):
    for operation in ("open", "write", "fsync", "replace"):
        for k in range(1, 10):
            folder = tmp_path / f"{operation}{k}"
            monkeypatch.setattr(files, "os", FullOs(operation, k))
            with contextlib.suppress(BenchError):
                publish_rows([write_row(toy("a"), None, folder)])
            monkeypatch.undo()
            for path in everything(folder):
                assert path.suffix in (".json", ".md")
                if path.name.startswith("a--"):
                    assert read_entry(path) == toy("a")
            publish_rows([write_row(toy("a"), None, folder)])
            assert len(everything(folder)) == 3


def write_with_little_room(folder, n_bytes):
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, n_bytes))
    try:
        run(request(folder))
    except BenchError as error:
        os._exit(2 if "cannot write" in str(error) and "\n" not in str(error) else 3)
    os._exit(0)


def test_files_that_may_not_grow_are_one_line_and_the_run_goes_on_later(whole, tmp_path):
    for n_bytes in (1_000, 2_000):
        child = CONTEXT.Process(target=write_with_little_room, args=(tmp_path, n_bytes))
        child.start()
        child.join(120)
        assert child.exitcode == 2
        assert all(path.suffix in KEPT for path in everything(tmp_path))
    assert without_timing(run(request(tmp_path))) == whole


def test_a_real_disk_of_a_few_kilobytes_is_one_line_and_the_run_goes_on_later(
    tmp_path, monkeypatch, capfd
):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(disk)],
        check=False,
        capture_output=True,
    )
    if mounted.returncode:
        pytest.skip("a small disk cannot be mounted here")
    monkeypatch.chdir(tmp_path)
    words = [*mini(tmp_path), "--defense", "none", "--workers", "1", "--runs", "disk/runs"]
    try:
        assert main(words) == 2
        assert "No space left on device" in one_line(capfd.readouterr().err)
        assert all(path.suffix in KEPT for path in everything(disk))
        subprocess.run(["mount", "-o", "remount,size=8m", str(disk)], check=True)
        assert main([*words, "--json"]) == 0
        entry = json.loads(capfd.readouterr().out)[0]
    finally:
        subprocess.run(["umount", str(disk)], check=True)
    assert main([*words[:-1], "elsewhere", "--json"]) == 0
    again = json.loads(capfd.readouterr().out)[0]
    assert again["per_image"] == entry["per_image"]


def test_a_temporary_folder_without_room_is_one_line_and_status_2(tmp_path, monkeypatch, capfd):
    def full(self, content):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self))

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    words = [*mini(tmp_path), "--defense", "none", "--workers", "2"]
    assert main(words) == 2
    assert "No space left on device" in one_line(capfd.readouterr().err)


@pytest.mark.parametrize("option", ["--runs", "--results"])
def test_a_folder_that_became_a_file_or_read_only_is_one_line(tmp_path, monkeypatch, capfd, option):
    monkeypatch.chdir(tmp_path)
    words = [*mini(tmp_path), "--defense", "none", "--workers", "1"]
    assert main(words) == 0
    capfd.readouterr()
    folder = tmp_path / option.removeprefix("--")
    shutil.rmtree(folder)
    folder.write_text("a file")
    assert main(words) == 2
    assert "cannot write" in one_line(capfd.readouterr().err)
    folder.unlink()
    folder.mkdir(mode=0o500)
    try:
        if not os.access(folder, os.W_OK):  # root writes anywhere
            assert main(words) == 2
            assert "cannot write" in one_line(capfd.readouterr().err)
    finally:
        folder.chmod(0o700)
    assert main(words) == 0


def test_output_that_nobody_reads_or_that_finds_no_room_is_no_traceback():
    words = [sys.executable, "-m", "benchmark", "list", "models"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert "No space left on device" in one_line(done.stderr)
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(words, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")


def test_folders_that_another_run_tries_at_the_same_time_do_no_harm(tmp_path):
    folder = tmp_path / "a" / "b"

    def hammer():
        for _ in range(300):
            refuse_unwritable(folder)
        os._exit(0)

    children = [multiprocessing.get_context("fork").Process(target=hammer) for _ in range(3)]
    for child in children:
        child.start()
    for number in range(60):
        write_whole(folder / "c" / f"{number}", b"x")
        shutil.rmtree(folder / "c")
    for child in children:
        child.join(60)
        assert child.exitcode == 0


def evaluate_and_publish(folder, defense, seed, barrier):
    barrier.wait(60)
    for _ in range(2):
        entry = run(request(folder / "runs", defense=defense, seed=seed))
        publish_rows([write_row(entry, None, folder / "boards")])
    os._exit(0)


def test_runs_at_once_in_one_folder_end_with_identical_entries_and_whole_pages(whole, tmp_path):
    barrier = CONTEXT.Barrier(5)
    orders = [
        (Noise(), 0),
        (Noise(), 0),
        (Noise(), 0),
        (Noise(sigma=0.2), 0),
        ("none", 0),
    ]
    children = [
        CONTEXT.Process(target=evaluate_and_publish, args=(tmp_path, *order, barrier))
        for order in orders
    ]
    for child in children:
        child.start()
    for child in children:
        child.join(240)
        assert child.exitcode == 0
    boards = list(tmp_path.rglob("README.md"))
    assert len(boards) == 1
    entries = [read_entry(path) for path in boards[0].parent.glob("*.json")]
    assert {without_content(entry.defense.label) for entry in entries} == {
        "noise-under-test",
        "noise-under-test(sigma=0.2)",
        "none",
    }
    (same,) = [e for e in entries if without_content(e.defense.label) == "noise-under-test"]
    assert without_timing(same) == whole
    page = boards[0].read_bytes()
    named = [
        row[1].removesuffix("¶").partition(" (prel")[0]
        for row in cells(page.decode())
        if row[0] == "–"
    ]
    assert sorted(map(without_content, named)) == [
        "noise-under-test",
        "noise-under-test(sigma=0.2)",
    ]
    assert publish_folder(boards[0].parent).page.read_bytes() == page
    assert {path.suffix for path in everything(tmp_path)} == {*KEPT, ".md"}
