"""`python -m benchmark` is `bench`."""

from __future__ import annotations

import sys


def main() -> int:
    """Runs the process's own command line and returns its exit status; hears interrupts before it imports."""
    from benchmark.interrupts import hear_interrupts, ignore_interrupts

    hear_interrupts()
    from benchmark.cli import main as bench

    status = bench()
    ignore_interrupts()
    return status


if __name__ == "__main__":
    if not sys.flags.safe_path:
        del sys.path[0]  # the current folder, which comes last: a yaml.py in it hides no library
    sys.exit(main())
