"""Standard output is for results: what plugins and libraries print goes to standard error."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def stdout_kept_clean() -> Iterator[None]:
    """Sends to standard error whatever is printed inside: by Python, by C code, by child processes."""
    _flush()
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):  # a standard stream may be closed
            real = os.dup(1)
            stack.callback(_put_back, real)
            os.dup2(2, 1)
        if sys.stderr is not None:
            stack.enter_context(contextlib.redirect_stdout(sys.stderr))
        yield


def _put_back(real: int) -> None:
    _flush()
    os.dup2(real, 1)
    os.close(real)


def _flush() -> None:
    if sys.stdout is not None:
        sys.stdout.flush()
    with contextlib.suppress(
        OSError, AttributeError
    ):  # C's own buffers, where there is such a library
        ctypes.CDLL(None).fflush(None)
