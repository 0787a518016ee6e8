"""Modules by the names that they had before: importable in this version still, with a warning."""

from __future__ import annotations

import importlib.util
import sys
import warnings
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Final

FORMER: Final = {
    "benchmark.attack": "benchmark.engine.attacking.attack",
    "benchmark.classifiers.source": "benchmark.classifiers.base",
    "benchmark.dataset": "benchmark.engine.dataset",
    "benchmark.defense": "benchmark.engine.victims.defense",
    "benchmark.iterated": "benchmark.engine.victims.checkpointed",
    "benchmark.weights": "benchmark.files.weights",
    # as leaderboards/schema.json names them
    "benchmark.criterion": "benchmark.engine.criterion",
    "benchmark.publishing.flags": "benchmark.scoring.flags",
    "benchmark.trust": "benchmark.contract",
    "benchmark.trust.examination": "benchmark.contract.measurements",
}


class _Former(ModuleType):
    """A module under a former name; called, it is its function of that name, which it hides in its package."""

    def __call__(self, *args: object, **named: object) -> object:
        return getattr(self, self.__name__.rpartition(".")[2])(*args, **named)


class _FormerFinder(MetaPathFinder, Loader):
    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The place of a module of a former name: the file that it has now."""
        del path, target
        if name not in FORMER:
            return None
        found = importlib.util.find_spec(FORMER[name])
        origin = found.origin if found else None
        return importlib.util.spec_from_file_location(
            name, origin, loader=self, submodule_search_locations=[]
        )

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """An empty one."""
        return _Former(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Gives it all that the module of today has."""
        name, now = module.__name__, FORMER[module.__name__]
        warnings.warn(
            f"{name} is {now} now, and its former name goes with the next version; plugins import from "
            f"benchmark alone",
            DeprecationWarning,
            stacklevel=2,
        )
        own = vars(importlib.import_module(now))
        vars(module).update({key: own[key] for key in own if not key.startswith("__")})


def know_former_names() -> None:
    """Lets this process import modules by their former names."""
    if not any(isinstance(finder, _FormerFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _FormerFinder())  # before what an emptied folder would be
