"""The project's own packages: always the files of this tree, whatever else has their names."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[2]
OWN = frozenset({"attacks", "benchmark", "defenses"})
"""Their names; somebody's own `attacks.py` or `defenses/` cannot be imported in the same process."""

_SAFE_PATH, _OURS = "PYTHONSAFEPATH", "bench"
"""Python's variable that keeps the current folder out of `sys.path`, and our value of it."""


class _OwnFinder(MetaPathFinder):
    """Finds them beside this package, before any folder of `sys.path` is asked."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The place of one of the packages; None for all other names."""
        return PathFinder.find_spec(name, [str(ROOT)], target) if name in OWN and not path else None


def put_first() -> None:
    """Lets this process, from here on, import the project's own packages from nowhere else."""
    if not any(isinstance(finder, _OwnFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _OwnFinder())


def add_current_folder() -> None:
    """Lets `module:Class` name a file of the current folder, which hides nothing that is installed.

    The project's own folder comes before it: the processes that we start look for it by `sys.path` alone.
    """
    for folder in (str(ROOT), str(Path.cwd())):
        if folder not in sys.path:
            sys.path.append(folder)


@contextlib.contextmanager
def current_folder_last() -> Iterator[None]:
    """Starts no Python process in here that looks for modules in its current folder before anywhere else.

    Each begins with `forget_order`, so that what it starts itself is as usual.
    """
    if os.environ.get(_SAFE_PATH):
        yield
        return
    os.environ[_SAFE_PATH] = _OURS
    try:
        yield
    finally:
        forget_order()


def forget_order() -> None:
    """Takes back for other processes what `current_folder_last` asks of Python."""
    if os.environ.get(_SAFE_PATH) == _OURS:
        del os.environ[_SAFE_PATH]


def hidden(name: str) -> str:
    """Somebody else's file or folder that has the name of one of the packages; empty where there is none."""
    for folder in dict.fromkeys(sys.path):
        place = Path(folder or ".").absolute()
        if place == ROOT:
            continue
        for found in (place / f"{name}.py", place / name):
            if found.exists():
                return str(found)
    return ""


def imported_elsewhere(name: str) -> str:
    """The file from which somebody else's module of a package's name was imported; empty where none was."""
    file = getattr(sys.modules.get(name), "__file__", None)
    is_ours = name not in OWN or file is None or Path(file).parent.parent == ROOT
    return "" if is_ours else str(file)
