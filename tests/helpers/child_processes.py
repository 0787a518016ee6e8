"""Child processes of tests."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path


def hear_interrupts() -> None:
    """For `preexec_fn`: a suite that runs in the background passes on that interrupts are ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def within(seconds: float, condition: Callable[[], object]) -> bool:
    """Whether a condition comes true in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return False


def files_below(folder: Path, suffix: str) -> list[Path]:
    """Files of a folder into which other processes write; what comes and goes meanwhile is passed over."""
    found = [Path(place, name) for place, _, names in os.walk(folder) for name in names]
    return [path for path in found if path.name.endswith(suffix)]


def session(leader: int) -> list[int]:
    """Every process of a session, whoever started it and whatever became of its leader; zombies excepted."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, _, of = stat.read_text().rsplit(")", 1)[1].split()[:4]
            if int(of) == leader and state != "Z":
                found.append(int(stat.parent.name))
    return found


def words_of(pid: int) -> str:
    """The command line of a process; empty where it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""


def is_running(pid: int) -> bool:
    """Whether a process is there and has not ended."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not (stat.exists() and stat.read_text().rsplit(")", 1)[1].split()[0] == "Z")
