"""Tests run in forks: on code that is mutated where it stands, or as its module is imported."""

from __future__ import annotations

import ast
import gc
import importlib
import importlib.abc
import importlib.util
import os
import signal
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from types import CodeType, FunctionType, ModuleType

import pytest

from tests.mutation.operators import Mutant
from tests.mutation.subjects import file_of, tests_of

_SECONDS_OF_A_TEST = 20
"""Of the CPU: a mutant that loops forever falls at it."""
_SECONDS_OF_A_MUTANT = 60
"""Of the CPU: one that is unnoticed until then has survived."""
_OPTIONS = ["-q", "-p", "no:cacheprovider", "-m", "not slow", "-o", "timeout=600"]
_OPTIONS += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # of plugins imported by now


def in_fork(run: Callable[[], str]) -> str:
    """An answer found in a process of its own; `crash` where that is killed."""
    read, write = os.pipe()
    if not os.fork():
        try:
            os.write(write, run().encode())
        except BaseException as error:  # noqa: BLE001 - told to the parent
            os.write(write, f"error {error!r}".encode())
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read) as answer:
        text = answer.read()
    os.wait()
    if text.startswith("error "):
        raise RuntimeError(text)
    return text or "crash"


class _Tests:
    """Runs tests until one fails."""

    _has_failed = False

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._has_failed |= report.failed

    def collect(self, files: Iterable[Path]) -> None:
        """Hands the tests of files to `pytest_runtestloop`."""
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
        with tempfile.TemporaryDirectory() as folder:
            pytest.main([*_OPTIONS, f"--basetemp={folder}/tests", *map(str, files)], plugins=[self])

    def first_failing(self, items: Sequence[pytest.Item]) -> str:
        """The first test that fails or takes too long; `none` where there is none."""
        signal.signal(signal.SIGPROF, _too_long)
        for item, following in zip_longest(items, items[1:]):
            if sum(os.times()[:2]) > _SECONDS_OF_A_MUTANT:
                break
            signal.setitimer(signal.ITIMER_PROF, _SECONDS_OF_A_TEST)
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            signal.setitimer(signal.ITIMER_PROF, 0)
            if self._has_failed:
                return item.nodeid
        return "none"


def _too_long(*_: object) -> None:
    raise TimeoutError("a test takes too long")


class Collected(_Tests):
    """Tests that are collected once; in forks of them functions get the code of mutants."""

    def __init__(self, mutants: Sequence[Mutant], tell: Callable[[Mutant, str], None]) -> None:
        self.mutants = mutants
        self.tell = tell
        self.killers: dict[str, list[pytest.Item]] = defaultdict(list)
        self.sound: dict[str, bool] = {}

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Tells which test each mutant fell at."""
        items: dict[Path, list[pytest.Item]] = defaultdict(list)
        for item in session.items:
            items[item.path].append(item)
        for module in {mutant.module for mutant in self.mutants}:
            importlib.import_module(module)
        functions = [each for each in gc.get_objects() if type(each) is FunctionType]
        gc.freeze()
        for mutant in self.mutants:
            exchange = list(_exchanges(mutant, functions))
            if not exchange:
                raise LookupError(f"{mutant.key}: no function has this code")
            of_files = [item for file in tests_of(mutant.module) for item in items[file]]
            self.tell(mutant, self._killer(mutant.module, exchange, of_files))
        return True

    def _killer(self, module: str, exchange: list[_Exchange], items: list[pytest.Item]) -> str:
        """A test that fails with the exchange and passes without; those that found others come first."""
        by_id = {item.nodeid: item for item in (*self.killers[module], *items)}
        while True:
            left = [item for name, item in by_id.items() if self.sound.get(name, True)]
            name = in_fork(lambda left=left: self._failing(exchange, left))
            if name in ("none", "crash"):
                return name
            if name not in self.sound:
                alone = [by_id[name]]
                self.sound[name] = in_fork(lambda: self._failing([], alone)) == "none"  # noqa: B023
            if self.sound[name]:
                others = [item for item in self.killers[module] if item.nodeid != name]
                self.killers[module] = [by_id[name], *others]
                return name

    def _failing(self, exchange: list[_Exchange], items: Sequence[pytest.Item]) -> str:
        for function, code in exchange:
            function.__code__ = code
        return self.first_failing(items)


_Exchange = tuple[FunctionType, CodeType]


def _exchanges(mutant: Mutant, functions: Sequence[FunctionType]) -> Iterator[_Exchange]:
    """The functions that a mutant changes, wherever they are bound, and their codes."""
    file = str(file_of(mutant.module))
    mutated = _codes(compile(mutant.tree(), file, "exec"))
    codes = {(code.co_qualname, code.co_firstlineno): code for code in mutated}
    for each in functions:
        old = each.__code__
        if old.co_filename == file and (old.co_qualname, old.co_firstlineno) in codes:
            new = codes[old.co_qualname, old.co_firstlineno]
            if new != old:
                yield each, new


def _codes(code: CodeType) -> Iterator[CodeType]:
    for each in code.co_consts:
        if isinstance(each, CodeType):
            yield each
            yield from _codes(each)


class MutatedImport(_Tests, importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """A module that is imported from another tree, before the tests that import it are collected."""

    def __init__(self, module: str, tree: ast.Module) -> None:
        self.module = module
        self.file = file_of(module)
        self.code = compile(tree, str(self.file), "exec")
        self.answer = "not collected"

    def killer(self, only: Sequence[str] = ()) -> str:
        """The first test that fails, of all or of those named."""
        sys.meta_path.insert(0, self)
        self.collect(map(Path, only) if only else tests_of(self.module))
        return self.answer

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Runs what was collected."""
        self.answer = self.first_failing(session.items)
        return True

    def find_spec(self, name: str, path: object = None, target: object = None) -> object:
        """Finds the one module."""
        if name != self.module:
            return None
        return importlib.util.spec_from_file_location(name, self.file, loader=self)

    def exec_module(self, module: ModuleType) -> None:
        """Runs the other tree."""
        exec(self.code, module.__dict__)
