"""The end of a process: once its work is done, nothing that a plugin left running holds it back."""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import os
import signal
import sys
from os import _exit as leave_at_once  # kept here: a plugin's os._exit is made to raise
from typing import NoReturn, TextIO

from benchmark.compute.interrupts import ignore_interrupts

PATIENCE_SECONDS = 5.0
"""How long handlers of `atexit` may take."""


def leave(status: int) -> NoReturn:
    """Ends this process with everything written that was printed.

    Threads are not waited for, child processes of `multiprocessing` are killed, and handlers of `atexit` have
    five seconds.

    Args:
        status: The exit status; 2 where standard output cannot take what was printed and it was 0.
    """
    ignore_interrupts()
    is_written = _flushed(sys.stdout)
    status = status or (0 if is_written else 2)
    signal.signal(
        signal.SIGALRM, lambda *_: leave_at_once(status)
    )  # for which no thread need start
    signal.setitimer(signal.ITIMER_REAL, PATIENCE_SECONDS)
    processes = sys.modules.get("multiprocessing.process")
    for child in processes.active_children() if processes is not None else ():
        with contextlib.suppress(Exception):
            child.kill()
    with contextlib.suppress(Exception, SystemExit):  # other people's code, after all is done
        atexit._run_exitfuncs()
    if is_written:
        _flushed(sys.stdout)
    _flushed(sys.stderr)
    with contextlib.suppress(OSError, AttributeError):  # C's own buffers
        ctypes.CDLL(None).fflush(None)
    leave_at_once(status)


def _flushed(stream: TextIO | None) -> bool:
    """Writes what a stream still holds; False, and a line that says so, where it is lost."""
    try:
        if stream is not None:
            stream.flush()
    except (BrokenPipeError, ValueError):  # its reader is gone, or it is closed
        return True
    except OSError as error:
        with contextlib.suppress(OSError):
            text = f"bench: the output cannot be written: {error.strerror}; send it elsewhere\n"
            os.write(2, text.encode())
        return False
    return True
