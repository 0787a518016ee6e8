"""Places of modules, found without importing them: a file, and whose it is."""

from __future__ import annotations

import sys
import sysconfig
from enum import Enum
from functools import lru_cache
from importlib.machinery import ModuleSpec
from pathlib import Path

from benchmark.compute.own_packages import OWN, ROOT
from benchmark.identity.distributions import Installed, installed

_SITES = frozenset({"site-packages", "dist-packages"})


class Owner(Enum):
    """Whose a file is."""

    PYTHON = "Python's own"
    PROJECT = "this project's"
    INSTALLED = "an installed package's"
    USER = "the user's"


def _python() -> tuple[Path, ...]:
    """The folders of the standard library; those of a virtual environment's own Python too."""
    base = {"base": sys.base_prefix, "platbase": sys.base_prefix}
    places = [sysconfig.get_path(n, vars=v) for n in ("stdlib", "platstdlib") for v in (None, base)]
    return tuple(Path(place) for place in dict.fromkeys(places))


_PYTHON = tuple({*_python(), *(place.resolve() for place in _python())})


@lru_cache(maxsize=100_000)
def is_python(file: Path) -> bool:
    """Whether a file is part of Python itself."""
    return any(place in file.parents for place in _PYTHON) and not _SITES & set(file.parts)


@lru_cache(maxsize=100_000)
def is_project(file: Path) -> bool:
    """Whether a file lies in one of this project's own packages."""
    return ROOT in file.parents and file.parts[len(ROOT.parts)] in OWN


def owner_of(file: Path, module: str = "") -> Owner:
    """Whose a file is, by where it lies; what is installed for editing lies outside and is the user's."""
    if is_project(file):
        return Owner.PROJECT
    if is_python(file):
        return Owner.PYTHON
    return Owner.INSTALLED if module and _is_recorded(file, module) else Owner.USER


def packages_of(file: Path, module: str) -> tuple[Installed, ...]:
    """The installed packages that a module is part of; none for a loose file."""
    return installed(_home(file, module), module.partition(".")[0])


def _is_recorded(file: Path, module: str) -> bool:
    """Whether an installed package vouches for a file; one without a RECORD does so only where it belongs."""
    found = packages_of(file, module)
    return bool(found) and (bool(_SITES & set(file.parts)) or all(each.record for each in found))


def _home(file: Path, module: str) -> Path:
    """The folder in which the top-level package of a module lies."""
    levels = module.count(".") + file.name.startswith("__init__.")
    return file.parents[min(levels, len(file.parents) - 1)]


def file_of(module: str) -> Path | None:
    """The file of a module, whatever its language; None for what has none, and for what is not there.

    A loaded module is where it was loaded from; any other is looked for as an import would, parents first,
    but none of them is run.
    """
    loaded = sys.modules.get(module)
    if loaded is not None:
        found = getattr(loaded, "__file__", None)
        return Path(found).absolute() if isinstance(found, str) else None
    spec = None if module == "__main__" else _spec(module)
    return Path(spec.origin).absolute() if spec and spec.has_location and spec.origin else None


def folders_of(package: str) -> list[str]:
    """The folders in which the submodules of a package lie; none for what is no package."""
    found = getattr(sys.modules.get(package), "__path__", None)
    if found is None and package not in sys.modules:
        spec = _spec(package)
        found = spec.submodule_search_locations if spec is not None else None
    return list(found or ())


def _spec(module: str) -> ModuleSpec | None:
    """What an import would find, by the same finders."""
    parent = module.rpartition(".")[0]
    folders = folders_of(parent) if parent else None
    if parent and not folders:
        return None
    for finder in sys.meta_path:
        try:
            found = finder.find_spec(module, folders)
        except Exception:  # noqa: BLE001 (somebody else's finder)
            continue
        if found is not None:
            return found
    return None
