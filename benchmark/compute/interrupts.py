"""Ctrl-C, SIGTERM and SIGHUP: heard from the first moment, one line, status 128 + number, nothing left."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator
from os import _exit as leave_at_once  # kept here: a plugin's os._exit is made to raise
from traceback import walk_stack
from types import FrameType

INTERRUPTED = 130
MESSAGE = "bench: interrupted; what was finished is kept, the same command goes on from there"
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_SHOW_CURSOR = "\x1b[?25h"
_IMPORTING = "<frozen importlib._bootstrap>"
_TOGETHER_SECONDS = 1.0
"""Signals so close together are one: `timeout`, a scheduler or a closed terminal sends several at once."""
_heard: list[tuple[int, float]] = []
"""The first signal that was heard, and when."""
_starting: list[bool] = []
"""Not empty while a process is being started."""
_late: list[int] = []
"""Signals that came meanwhile."""


def hear_interrupts() -> None:
    """Lets the first signal raise KeyboardInterrupt; ends the process at a second one, or amid an import.

    An interrupt raised amid an import would turn into whatever half-imported libraries make of it. Ending at
    once is safe at any time: what is finished is on disk, whole, and worker processes end with this one. A
    signal that is ignored stays so (nohup, a job in the background).
    """
    for number in _SIGNALS:
        if signal.getsignal(number) in (signal.default_int_handler, signal.SIG_DFL):
            signal.signal(number, _hear)


def _hear(number: int, frame: FrameType | None) -> None:
    if _starting:
        _late.append(number)
        return
    now = time.monotonic()
    if _heard and now - _heard[0][1] < _TOGETHER_SECONDS:
        return
    frames = walk_stack(frame) if frame is not None else ()
    is_importing = any(each.f_code.co_filename == _IMPORTING for each, _ in frames)
    if _heard or is_importing:
        _leave(number)
    _heard.append((number, now))
    raise KeyboardInterrupt


def ignore_interrupts() -> None:
    """From here on there is nothing to interrupt: the process is about to end."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def was_interrupted() -> bool:
    """Whether a signal was heard, whatever became of the exception that it raised."""
    return bool(_heard)


def interrupted_status() -> int:
    """The exit status after the signal that was heard; that of Ctrl-C where none was."""
    return 128 + _heard[0][0] if _heard else INTERRUPTED


@contextlib.contextmanager
def withheld_from_children() -> Iterator[None]:
    """Starts no process in here that hears an interrupt: it is for the caller to end its workers.

    Ctrl-C reaches every process of a terminal, and so does its end; a blocked signal stays blocked in what is
    started meanwhile. SIGTERM is left to them: what they start themselves may have to be ended with it. This
    process answers it when the start is over, since a child that is half started complains.
    """
    from multiprocessing import resource_tracker  # here, to start fast

    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    _starting.append(True)
    try:
        resource_tracker.ensure_running()  # done now, because its start unblocks SIGINT
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        yield
    finally:
        _starting.pop()
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        if _late and not _starting:
            number = _late[0]
            _late.clear()
            _hear(number, None)


def _leave(number: int) -> None:
    shown = _SHOW_CURSOR if sys.stderr is not None and sys.stderr.isatty() else ""
    with contextlib.suppress(OSError):
        os.write(2, f"{shown}{MESSAGE}\n".encode())
    temporary = sys.modules.get("benchmark.files.temporary")  # not imported yet: nothing to remove
    if temporary is not None and hasattr(temporary, "remove_held"):
        temporary.remove_held()
    leave_at_once(128 + number)
