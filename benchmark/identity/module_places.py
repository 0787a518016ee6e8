"""Files of modules, and whose they are."""

from __future__ import annotations

import sys
import sysconfig
from enum import Enum
from functools import lru_cache
from pathlib import Path

from benchmark.compute.module_sources import file_of
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
    """Whose a file is, by where it lies; what is installed for editing lies outside and is the user's.

    An installed package vouches for its files; one without a RECORD does so only where it belongs.
    """
    if is_project(file):
        return Owner.PROJECT
    if is_python(file):
        return Owner.PYTHON
    found = packages_of(file, module) if module else ()
    is_recorded = bool(_SITES & set(file.parts)) or all(each.record for each in found)
    return Owner.INSTALLED if found and is_recorded else Owner.USER


def packages_of(file: Path, module: str) -> tuple[Installed, ...]:
    """The installed packages that a module is part of; none for a loose file."""
    levels = module.count(".") + file.name.startswith("__init__.")
    home = file.parents[min(levels, len(file.parents) - 1)]  # where its top-level package lies
    return installed(home, module.partition(".")[0])


def is_users(module: str) -> bool:
    """Whether a module is neither Python's, nor this project's, nor an installed package's."""
    if module.partition(".")[0] in sys.stdlib_module_names and module != "__main__":
        return False
    file = file_of(module)
    return file is None or owner_of(file, module) is Owner.USER
