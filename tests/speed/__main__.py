"""`python -m tests.speed [NAME ...]`: prints a Markdown table of ratios, with the command that made it."""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from benchmark.compute.determinism import fix_numerics
from tests.speed import bookkeeping, runs, searches
from tests.speed.timing import TINY, Comparison, Sizes, cpu_seconds

BENCHMARKS: Mapping[str, Callable[[Sizes], Iterator[Comparison]]] = {
    "loops": searches.loops,
    "apgd": searches.apgd,
    "autoattack": searches.autoattack,
    "eot": runs.eot,
    "workers": runs.workers,
    "bookkeeping": bookkeeping.bookkeeping,
    "startup": runs.startup,
}


def parsed(argv: list[str]) -> argparse.Namespace:
    """The options of a command line; one that it cannot be read by ends the program."""
    parser = argparse.ArgumentParser(prog="python -m tests.speed", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHMARKS)}")
    parser.add_argument("--images", type=int, help="in one batch")
    parser.add_argument("--shards", type=int, help="of the run whose bookkeeping is timed")
    parser.add_argument("--repeats", type=int, help="of each variant")
    parser.add_argument("--threads", type=int, default=1, help="of torch; default 1")
    parser.add_argument("--dataset", choices=("digits", "cifar10"), default="digits")
    parser.add_argument("--cpu", action="store_true", help="seconds of the CPU, on a busy machine")
    parser.add_argument("--tiny", action="store_true", help="only to see that everything runs")
    given = parser.parse_args(argv)
    unknown = sorted(set(given.names) - set(BENCHMARKS))
    if unknown:
        parser.error(f"no benchmark is called {unknown[0]!r}; there are {', '.join(BENCHMARKS)}")
    return given


def main(argv: list[str]) -> int:
    """Runs the benchmarks that are named, or all of them."""
    given = parsed(argv)
    changes = {k: v for k in ("images", "repeats", "shards") if (v := getattr(given, k))}
    clock = cpu_seconds if given.cpu else time.perf_counter
    sizes = replace(TINY if given.tiny else Sizes(), **changes, dataset=given.dataset, clock=clock)
    fix_numerics(given.threads)
    print(f"`python -m tests.speed {shlex.join(argv)}`, {runs.machine()}; median of ", end="")
    print(f"interleaved {'CPU ' if given.cpu else ''}times, with the least and the greatest:\n")
    print("| what | seconds of | ratio | seconds | verdicts |\n|---|---|---|---|---|")
    for name in given.names or BENCHMARKS:
        for comparison in BENCHMARKS[name](sizes):
            print(comparison.row(), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
