"""Downloads: a file arrives whole, checked and under its final name, or one clear line says how to get it."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

from filelock import FileLock

from benchmark.errors import BenchError
from benchmark.files.http import HttpTransfer, is_web_page, public
from benchmark.files.known_hashes import file_sha256
from benchmark.files.limits import WEIGHTS, Limits, Sink, TransferFailed, watch, watched
from benchmark.files.temporary import clear, hold, part_of

PAUSES = (0.5, 2.0, 6.0)
"""Seconds before each further attempt."""
_LONGEST_PAUSE = 30.0
_ON = frozenset({"1", "true", "yes", "on"})

Report = Callable[[str, int, int | None], None]
"""What is told of a download: its name, bytes so far, and bytes in all (None where nobody says)."""
Accept = Callable[[Path], object]
"""Refuses, with a BenchError, a file that is whole but not what was wanted; what it returns is nobody's."""

listener: ContextVar[Report | None] = ContextVar("listener", default=None)
"""Whom `reported_to` names; None where nobody listens."""
_untouched: ContextVar[bool] = ContextVar("untouched", default=False)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a file comes from.

    Args:
        hint: How a person gets it: `from https://...`.
        transfer: One attempt to write its bytes into a sink, which may hold some already; raises
            `TransferFailed`.
    """

    hint: str
    transfer: Callable[[Sink], None]


def is_offline() -> bool:
    """Whether the network must not be touched: by `BENCH_OFFLINE`, `HF_HUB_OFFLINE`, or within `offline`."""
    names = ("BENCH_OFFLINE", "HF_HUB_OFFLINE")
    return _untouched.get() or any(
        os.environ.get(name, "").strip().lower() in _ON for name in names
    )


@contextlib.contextmanager
def offline() -> Iterator[None]:
    """Within it, this thread downloads nothing: what is not here is missing."""
    token = _untouched.set(True)
    try:
        yield
    finally:
        _untouched.reset(token)


@contextlib.contextmanager
def reported_to(report: Report) -> Iterator[None]:
    """Within it, downloads of this thread tell `report` how far they have come."""
    token = listener.set(report)
    try:
        yield
    finally:
        listener.reset(token)


def fetch(
    source: str | Origin,
    target: Path,
    *,
    what: str,
    sha256: str = "",
    accept: Accept | None = None,
    limits: Limits = WEIGHTS,
) -> None:
    """Downloads one file, which is then whole under its final name; nothing is left where that fails.

    Of several processes that want one file at the same time, one downloads it, and the others wait for it.

    Args:
        source: `https://...`, `http://...`, or where else it comes from.
        target: The file; its folder is made. What is there already is replaced.
        what: What it is, for messages and progress: `the images of 'svhn'`.
        sha256: What the file must have, hex; empty where nobody knows.
        accept: Looks at the whole file, under a temporary name, before it gets its own.
        limits: What it may take, unless the user's environment says otherwise.

    Raises:
        BenchError: Offline mode is on, the file cannot be had, or it is not what was wanted.
    """
    if isinstance(source, str):
        source = Origin(f"from {public(source)}", HttpTransfer(source))
    if is_offline():
        raise BenchError(
            f"{what} is not here, and offline mode (--offline, BENCH_OFFLINE, HF_HUB_OFFLINE) allows no "
            f"download; get {target.name} {source.hint} and put it into {str(target.parent)!r}"
        )
    limits = limits.in_force()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        clear(target.parent)
        before = _stamp(target)
        with alone(target.parent / f".{target.name}.lock", is_kept=False):
            if _stamp(target) == before:  # else another process brought it meanwhile
                _bring(target, sha256, accept, partial(_attempt, source, what, limits))
    except TransferFailed as error:
        raise BenchError(
            f"{what} could not be downloaded ({error}); get {target.name} by hand {source.hint} and "
            f"put it into {str(target.parent)!r}"
        ) from error
    except OSError as error:
        raise BenchError(
            f"{what} could not be written ({error.strerror or type(error).__name__}: "
            f"{str(target)!r}); choose a folder that can be written, with room on its disk"
        ) from error


@contextlib.contextmanager
def alone(lock: Path, *, is_kept: bool = True) -> Iterator[None]:
    """Waits until no other process holds a lock; where locks fail, nobody waits, which does no harm."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(NotImplementedError):  # a file system without locks
            stack.enter_context(FileLock(lock))
            if not is_kept:
                stack.callback(_discard, lock)
        yield


def _discard(file: Path) -> None:
    with contextlib.suppress(OSError):
        file.unlink()


def _bring(
    target: Path, sha256: str, accept: Accept | None, transfer: Callable[[BinaryIO], None]
) -> None:
    """Downloads into a temporary file beside the target, which takes its name when all is well."""
    part = part_of(target)
    try:
        with part.open("x+b") as file:
            hold(file.fileno(), part)
            transfer(file)
            file.flush()
            os.fsync(file.fileno())
            _refuse(part, target, sha256, accept)
            part.chmod(0o644)
            part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def _attempt(origin: Origin, what: str, limits: Limits, file: BinaryIO) -> None:
    """Transfers, and again after a pause where what went wrong may pass."""
    told, since = listener.get(), time.monotonic()
    for pause in (*PAUSES, None):
        sink = Sink(file, partial(told, what) if told else None, limits)
        try:
            with contextlib.closing(sink):
                return watched(partial(origin.transfer, sink), watch(sink, limits, since))
        except TransferFailed as error:
            if pause is None or not error.is_brief or error.pause > _LONGEST_PAUSE:
                raise
            time.sleep(max(pause, error.pause))


def _refuse(part: Path, target: Path, sha256: str, accept: Accept | None) -> None:
    with part.open("rb") as file:
        if is_web_page(file.read(512)):
            raise TransferFailed("a web page came instead of the file")
    found = file_sha256(part) if sha256 else ""
    if found != sha256.lower():
        raise TransferFailed(f"its sha256 is {found}, and should be {sha256.lower()}")
    try:
        if accept:
            accept(part)
    except BenchError as error:
        raise TransferFailed(str(error).replace(part.name, target.name)) from error


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns
