"""Ctrl-C: heard from the first moment, one line, status 130, and no second one while the first is answered."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from os import _exit as leave_at_once  # kept here: a plugin's os._exit is made to raise
from types import FrameType

INTERRUPTED = 130
MESSAGE = "bench: interrupted; what was finished is kept, the same command goes on from there"
_SHOW_CURSOR = "\x1b[?25h"
_IMPORTING = "<frozen importlib._bootstrap>"


def hear_interrupts() -> None:
    """Lets the first SIGINT raise KeyboardInterrupt; ends the process at a second one, or amid an import.

    An interrupt raised amid an import would turn into whatever half-imported libraries make of it. Ending at
    once is safe at any time: what is finished is on disk, whole, and worker processes end with this one.
    """
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        return  # ignored, as in a background job
    heard: list[int] = []

    def hear(number: int, frame: FrameType | None) -> None:
        if heard or _is_importing(frame):
            _leave()
        heard.append(number)
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, hear)


def ignore_interrupts() -> None:
    """From here on there is nothing to interrupt: the process is about to end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextlib.contextmanager
def withheld_from_children() -> Iterator[None]:
    """Starts no process in here that hears an interrupt: it is for the caller to end its workers.

    Ctrl-C reaches every process of a terminal; a blocked signal stays blocked in what is started meanwhile.
    """
    from multiprocessing import resource_tracker  # here, to start fast

    resource_tracker.ensure_running()  # done now, because its start unblocks the signal
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename == _IMPORTING:
            return True
        frame = frame.f_back
    return False


def _leave() -> None:
    shown = _SHOW_CURSOR if sys.stderr is not None and sys.stderr.isatty() else ""
    with contextlib.suppress(OSError):
        os.write(2, f"{shown}{MESSAGE}\n".encode())
    leave_at_once(INTERRUPTED)
