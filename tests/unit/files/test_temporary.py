"""Temporary files: gone with their owner however it ended, and never while it lives."""

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmark.errors import BenchError
from benchmark.files import temporary
from benchmark.files.atomic import write_whole
from benchmark.files.temporary import clear, clear_up, part_folder, part_of, temporary_folder
from tests.helpers.child_processes import within

OWNER = """
import sys, time
from pathlib import Path
from benchmark.files.temporary import temporary_folder
with temporary_folder() as folder:
    (folder / "bench.pkl").write_bytes(b"images")
    time.sleep(60)
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    """The system's temporary folder."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def owner(place: Path) -> subprocess.Popen:
    """A process that has a temporary folder there."""
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER], env={**os.environ, "TMPDIR": str(place)}
    )
    assert within(20, lambda: any(place.glob("purifybench-*/bench.pkl")))
    return process


def aged(path: Path) -> Path:
    os.utime(path, (time.time() - temporary.OLD_SECONDS - 60,) * 2)
    return path


def test_a_folder_of_a_living_process_stays_and_that_of_a_killed_one_goes(place, tmp_path):
    process = owner(place)
    clear_up(tmp_path / "runs")
    assert list(place.glob("purifybench-*/bench.pkl"))
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert list(place.glob("purifybench-*/bench.pkl"))
    clear_up(tmp_path / "runs")
    assert list(place.iterdir()) == []


def test_a_stopped_process_is_not_a_dead_one(place):
    process = owner(place)
    try:
        process.send_signal(signal.SIGSTOP)
        clear(place)
        assert list(place.glob("purifybench-*/bench.pkl"))
    finally:
        process.kill()
        process.wait()


def test_the_number_of_a_dead_owner_may_belong_to_a_living_process_again(place):
    abandoned = place / f"purifybench-{temporary._machine()}-{os.getpid()}-00000000"
    abandoned.mkdir()
    clear(place)
    assert not abandoned.exists()


def test_a_folder_of_ones_own_goes_at_its_end_and_not_before(place):
    with temporary_folder() as folder:
        clear(place)
        assert folder.stat().st_mode & 0o777 == 0o700
    assert list(place.iterdir()) == []


def test_a_folder_that_fails_is_removed_too(place):
    def fail():
        with temporary_folder() as folder:
            (folder / "file").write_bytes(b"")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert list(place.iterdir()) == []


@pytest.mark.parametrize(
    "name", ["purifybench-0123abcd-7-00000000", ".net.pt.0123abcd-7-00000000.part"]
)
def test_what_another_machine_made_is_left_until_it_is_old(place, name):
    (place / name).mkdir()
    clear(place)
    assert (place / name).exists()
    aged(place / name)
    clear(place)
    assert not (place / name).exists()


@pytest.mark.parametrize("name", ["purifybench-results", "purifybench-12", ".mine.part", "x.part"])
def test_what_this_program_did_not_name_is_never_touched(place, name):
    (place / name).mkdir()
    aged(place / name)
    clear_up(place)
    assert (place / name).exists()


def test_what_another_user_made_is_left(place, monkeypatch):
    abandoned = place / f"purifybench-{temporary._machine()}-7-00000000"
    abandoned.mkdir()
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    clear(place)
    assert abandoned.exists()


def test_a_link_in_the_place_of_a_folder_leads_nowhere(place):
    (place / "mine").mkdir()
    (place / "mine" / "file").write_bytes(b"kept")
    (place / f"purifybench-{temporary._machine()}-7-00000000").symlink_to(place / "mine")
    clear(place)
    assert (place / "mine" / "file").read_bytes() == b"kept"


def test_half_written_files_go_from_runs_at_any_depth_and_from_the_folder_of_the_next(tmp_path):
    below = tmp_path / "runs" / "ab" / "abcd"
    below.mkdir(parents=True)
    (below / "kept.shard").write_bytes(b"")
    part_of(below / "000000-000004.shard").write_bytes(b"half")
    clear_up(tmp_path / "runs")
    assert [path.name for path in below.iterdir()] == ["kept.shard"]
    board = tmp_path / "board"
    board.mkdir()
    part_of(board / "entry.json").write_bytes(b"half")
    write_whole(board / "entry.json", b"{}")
    assert [path.name for path in board.iterdir()] == ["entry.json"]


def test_a_file_being_written_is_never_taken_away(tmp_path, monkeypatch):
    fsync = os.fsync

    def looked_at(handle):
        clear(tmp_path)
        fsync(handle)

    monkeypatch.setattr("benchmark.files.atomic.os.fsync", looked_at)
    write_whole(tmp_path / "file", b"whole")
    assert (tmp_path / "file").read_bytes() == b"whole"


def test_a_folder_beside_its_place_can_be_moved_there(tmp_path):
    with part_folder(tmp_path / "set") as part:
        clear(tmp_path)
        (part / "file").write_bytes(b"")
        part.replace(tmp_path / "set")
    assert list(tmp_path.rglob("*")) == [tmp_path / "set", tmp_path / "set" / "file"]


def test_semaphores_go_with_the_folder_of_a_pool_whose_tracker_was_killed_too(place, monkeypatch):
    shared = place / "shm"
    shared.mkdir()
    monkeypatch.setattr(temporary, "_SEMAPHORES", shared)
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    for pid in (child.pid, os.getpid()):
        (shared / f"sem.loky-{pid}-abc").write_bytes(b"")
        (place / f"purifybench-{temporary._machine()}-{pid}-00000000").mkdir()
    clear(place)
    assert [path.name for path in shared.iterdir()] == [f"sem.loky-{os.getpid()}-abc"]


def test_no_temporary_folder_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))
    with pytest.raises(BenchError, match="set TMPDIR to a folder that can be written") as caught:
        temporary_folder().__enter__()
    assert "\n" not in str(caught.value)


def test_a_full_disk_is_one_line(place, monkeypatch):
    def full(file, content):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with temporary_folder() as folder, pytest.raises(BenchError, match=r"No space left.*TMPDIR"):
        temporary.put(folder / "bench.pkl", b"images")
