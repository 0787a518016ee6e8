"""`python -m tests.mutation [--sample N --seed S] [--module NAME]`: do the unit tests notice wrong code?

The tests are collected once; each mutant is a fork in which a function's code is the mutated one, and in which
the fast unit tests that import its module run until one fails. What stands outside functions (tables of
constants, defaults) is mutated as the module is imported, in a process of its own. mutmut leaves these and all
that is decorated out; cosmic-ray rewrites the working tree and starts Python anew for each mutant.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import os
import random
import sys
import tomllib
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.mutation.forks import Collected, MutatedImport, in_fork
from tests.mutation.operators import Mutant, mutants_of
from tests.mutation.subjects import sources, tests_of

EQUIVALENT = Path(__file__).with_name("equivalent.toml")
WANTED = 0.95
"""Share of the mutants that are not equivalent which must fall."""
_FOREIGN = ("torch", "torchvision", "numpy", "scipy.stats", "timm")


def equivalent() -> dict[tuple[str, str], str]:
    """The reason for which a mutant changes no number, by its key."""
    listed = tomllib.loads(EQUIVALENT.read_text())
    return {(at, change): why for at, changes in listed.items() for change, why in changes.items()}


def parsed(argv: Sequence[str]) -> argparse.Namespace:
    """The options of a command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("--sample", type=int, help="so many mutants, drawn at random; default all")
    parser.add_argument("--seed", type=int, default=0, help="of the drawing")
    parser.add_argument(
        "--verbose", action="store_true", help="name each mutant and what felled it"
    )
    parser.add_argument("--module", action="append", help="only this one, such as attacks.pgd")
    return parser.parse_args(argv)


def chosen(given: argparse.Namespace) -> list[Mutant]:
    """The mutants that are asked for."""
    modules = {k: v for k, v in sources().items() if not given.module or k in given.module}
    mutants = [mutant for name, source in modules.items() for mutant in mutants_of(name, source)]
    if given.sample is None or given.sample >= len(mutants):
        return mutants
    return random.Random(given.seed).sample(mutants, given.sample)


def killers(mutants: Sequence[Mutant]) -> Iterator[tuple[Mutant, str]]:
    """Each mutant with the test it falls at, or `none`."""
    for name in _FOREIGN:
        with warnings.catch_warnings(action="ignore"):
            importlib.import_module(name)
    yield from _inside([mutant for mutant in mutants if mutant.is_inside])
    sound: dict[str, str] = {}
    for mutant in (mutant for mutant in mutants if not mutant.is_inside):
        name = in_fork(MutatedImport(mutant.module, mutant.tree()).killer)
        if "::" in name and name not in sound:
            unmutated = MutatedImport(mutant.module, ast.parse(mutant.source))
            sound[name] = in_fork(lambda: unmutated.killer([name]))  # noqa: B023
        yield mutant, f"unsound {name}" if sound.get(name, "none") != "none" else name


def _inside(mutants: Sequence[Mutant]) -> Iterator[tuple[Mutant, str]]:
    if not mutants:
        return
    read, write = os.pipe()
    if not os.fork():
        try:
            numbers = {id(mutant): number for number, mutant in enumerate(mutants)}
            with os.fdopen(write, "w") as told:
                Collected(
                    mutants,
                    lambda each, name: print(numbers[id(each)], name, file=told, flush=True),
                ).collect({file for mutant in mutants for file in tests_of(mutant.module)})
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read) as answers:
        for line in answers:
            number, _, name = line.strip().partition(" ")
            yield mutants[int(number)], name
    os.wait()


def main(argv: Sequence[str]) -> int:
    """Runs mutants and names those that survive; 1 where too many do."""
    given, known = parsed(argv), equivalent()
    mutants = chosen(given)
    tried = [mutant for mutant in mutants if mutant.key not in known]
    fell = answered = 0
    for mutant, killer in killers(tried):
        answered += 1
        fell += killer != "none"
        where, change = mutant.key
        if killer == "none" or given.verbose:
            print(f"{killer}: {where} (line {mutant.line})\n    {change}", flush=True)
    if answered < len(tried):
        raise RuntimeError(f"{len(tried) - answered} mutants were not tried")
    print(
        f"{len(mutants)} mutants, {len(mutants) - len(tried)} of them equivalent; {fell} of {len(tried)} "
        f"fell ({fell / max(1, len(tried)):.1%})"
    )
    return 0 if fell >= WANTED * len(tried) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
