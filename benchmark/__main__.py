"""`python -m benchmark` is `bench`."""

from __future__ import annotations

import sys

from benchmark.interrupts import hear_interrupts, ignore_interrupts


def main() -> int:
    """Runs the process's own command line and returns its exit status; hears interrupts before it imports."""
    hear_interrupts()
    from benchmark.cli import main as bench

    status = bench()
    ignore_interrupts()
    return status


if __name__ == "__main__":
    sys.exit(main())
