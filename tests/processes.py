"""Child processes of tests."""

from __future__ import annotations

import signal


def hear_interrupts() -> None:
    """For `preexec_fn`: a suite that runs in the background passes on that interrupts are ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
