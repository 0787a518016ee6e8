"""Limits of downloads: how large a file may be, how long it may take, and what is given up for it."""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO, TypeVar

from benchmark.errors import BenchError

T = TypeVar("T")

MAX_GB, MAX_HOURS = "BENCH_MAX_GB", "BENCH_MAX_HOURS"
"""Environment variables that replace every limit of size, unpacked or not, and of time."""
SILENCE_SECONDS = 60.0
"""How long the other side may send nothing, or less than one piece of 64 KiB."""
_GB = 10**9

Report = Callable[[int, int | None], None]
"""Bytes so far, and bytes in all (None where nobody says)."""


class TransferFailed(Exception):
    """A transfer that came to nothing.

    Args:
        reason: In a few words, on one line.
        is_brief: Whether another attempt may do better.
        pause: How many seconds the other side asks to wait first.
    """

    def __init__(self, reason: str, *, is_brief: bool = False, pause: float = 0.0) -> None:
        super().__init__(" ".join(reason.split()))
        self.is_brief = is_brief
        self.pause = pause


@dataclass(frozen=True, slots=True)
class Limits:
    """What one file may take.

    Args:
        size: Bytes, downloaded or unpacked.
        seconds: Of its download, all attempts and pauses together.
    """

    size: int
    seconds: float

    def in_force(self) -> Limits:
        """These limits, or what the user's environment says in their place.

        Raises:
            BenchError: It says no positive number.
        """
        size, hours = _chosen(MAX_GB), _chosen(MAX_HOURS)
        return Limits(
            self.size if size is None else math.ceil(size * _GB),
            self.seconds if hours is None else hours * 3600,
        )

    def refuse_size(self, size: int) -> None:
        """Refuses more bytes than are allowed.

        Raises:
            TransferFailed: These are more.
        """
        if size > self.size:
            raise TransferFailed(
                f"it is larger than the limit of {self.size / _GB:g} GB; {MAX_GB} sets another"
            )

    def refuse_time(self, since: float) -> None:
        """Refuses to wait any longer for what began at a time of the monotonic clock.

        Raises:
            TransferFailed: It has taken longer than is allowed.
        """
        if time.monotonic() - since > self.seconds:
            raise TransferFailed(
                f"it takes longer than the limit of {self.seconds / 3600:g} hours; {MAX_HOURS} sets another"
            )


WEIGHTS = Limits(8 * _GB, 6 * 3600.0)
"""For a checkpoint; the largest of RobustBench have less than 4 GB."""
DATASET = Limits(32 * _GB, 24 * 3600.0)
"""For an archive of images."""


class Sink:
    """The file that a transfer writes into: within a limit, and closed to a transfer that was left behind.

    Args:
        file: May hold some bytes already.
        report: Told how many there are; None where nobody listens.
        limits: Of its size.
    """

    def __init__(self, file: BinaryIO, report: Report | None, limits: Limits) -> None:
        self.done = file.seek(0, 2)
        """How many bytes there are."""
        self._file = file
        self._report = report
        self._limits = limits
        self._total: int | None = None
        self._lock = threading.Lock()
        self._is_open = True

    def begin(self, start: int, total: int | None) -> None:
        """Keeps the first bytes of the file and no others.

        Args:
            start: How many.
            total: How many the whole file has; None where nobody says.

        Raises:
            TransferFailed: The file is too large, or this transfer was given up.
        """
        self._limits.refuse_size(total or 0)
        with self._lock:
            self._refuse_closed()
            self._file.seek(start)
            self._file.truncate()
            self._total = total
            self._count(start)

    def write(self, chunk: bytes) -> int:
        """Adds bytes.

        Raises:
            TransferFailed: They are too many, or this transfer was given up.
        """
        with self._lock:
            self._refuse_closed()
            self._limits.refuse_size(self.done + len(chunk))
            self._file.write(chunk)
            self._count(self.done + len(chunk))
        return len(chunk)

    def close(self) -> None:
        """Takes no bytes from now on."""
        with self._lock:
            self._is_open = False

    def _count(self, done: int) -> None:
        self.done = done
        if self._report:
            self._report(done, self._total)

    def _refuse_closed(self) -> None:
        if not self._is_open:
            raise TransferFailed("given up")


def watch(sink: Sink, limits: Limits, since: float) -> Callable[[], None]:
    """What looks once after a transfer that began at `since`: it may neither take too long nor fall silent."""
    seen = (-1, time.monotonic())

    def look() -> None:
        nonlocal seen
        limits.refuse_time(since)
        now = time.monotonic()
        if sink.done != seen[0]:
            seen = (sink.done, now)
        elif now - seen[1] > SILENCE_SECONDS:
            raise TransferFailed("the other side fell silent", is_brief=True)

    return look


def watched(work: Callable[[], T], look: Callable[[], None]) -> T:
    """What `work` returns or raises; it is left behind in its thread where `look` raises.

    Args:
        work: Waits for another machine, which may answer a byte at a time for ever.
        look: Called ten times a second.
    """
    found: list[T] = []
    failure: list[BaseException] = []

    def run() -> None:
        try:
            found.append(work())
        except BaseException as error:  # noqa: BLE001 (the thread that waits raises it)
            failure.append(error)

    thread = threading.Thread(target=run, name="download", daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(0.1)
        if thread.is_alive():
            look()
    if failure:
        raise failure[0]
    return found[0]


def _chosen(name: str) -> float | None:
    text = os.environ.get(name, "").strip()
    if not text:
        return None
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise BenchError(f"{name} is {text!r}; give a number above 0, such as 20")
    return number
