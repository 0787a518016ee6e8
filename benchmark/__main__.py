"""`python -m benchmark` is `bench`."""

from __future__ import annotations

import sys
from typing import NoReturn


def main() -> NoReturn:
    """Runs the process's own command line and ends it; hears interrupts before it imports."""
    from benchmark.compute.interrupts import hear_interrupts

    hear_interrupts()
    from benchmark.compute.process_exit import leave

    try:
        status = _run()
    except BaseException:  # noqa: BLE001 (our own fault: shown as Python does, which would wait for threads)
        sys.excepthook(*sys.exc_info())
        status = 1
    leave(status)


def _run() -> int:
    from benchmark.compute.address_space import STARTING, refuse_cramped
    from benchmark.errors import BenchError

    try:
        refuse_cramped(STARTING)
    except BenchError as error:
        sys.stderr.write(f"bench: {error}\n")
        return 2
    from benchmark.cli import main as bench

    return bench()


if __name__ == "__main__":
    if not sys.flags.safe_path:
        del sys.path[0]  # the current folder, which comes last: a yaml.py in it hides no library
    main()
