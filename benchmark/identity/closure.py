"""Source closures: the files that modules consist of and import, transitively, and the packages below them."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path

from benchmark.compute.module_sources import file_of, folders_of
from benchmark.compute.own_packages import OWN
from benchmark.identity.distributions import Installed
from benchmark.identity.module_places import Owner, owner_of, packages_of
from benchmark.identity.source import STAR, Import, Stamp, source_of, stamp_of

HARNESS = "benchmark"
"""The package whose modules a job's key holds beside those of its plugins."""


@dataclass(slots=True)
class Closure:
    """All that some modules reach.

    Args:
        files: The place of each module by its name; those of Python itself and of other packages left out.
        tops: The same of installed packages that they import, but for those that the harness alone imports.
    """

    files: dict[str, Path] = field(default_factory=dict)
    tops: dict[str, Path] = field(default_factory=dict)

    @property
    def packages(self) -> set[Installed]:
        """Those installed packages."""
        return {one for module, file in self.tops.items() for one in packages_of(file, module)}

    def sha256(self, *, of_harness: bool | None = None) -> str:
        """sha256 of the files, hex; it does not hang on where they lie.

        Args:
            of_harness: Whether those of the harness count alone, or all others; None for all.
        """
        digest = hashlib.sha256()
        for name, path in sorted(self.files.items()):
            if of_harness in (None, is_harness(name)):
                digest.update(f"{name}\0{source_of(path).sha256}\0".encode())
        return digest.hexdigest()

    def stamps(self) -> tuple[Stamp | None, ...]:
        """What tells whether its files are as they were."""
        return tuple(map(stamp_of, self.files.values()))


def is_harness(module: str) -> bool:
    """Whether a module is the harness's."""
    return module.partition(".")[0] == HARNESS


_FOUND: dict[tuple[tuple[str, ...], tuple[str, ...]], tuple[Closure, tuple[Stamp | None, ...]]] = {}
"""Closures that were found in this process, with what tells whether their files are as they were."""


def closure_of(roots: Iterable[str], *, own: Iterable[str] = ()) -> Closure:
    """The closure of modules by name; what is not to be found is left out.

    This project's files and the user's are followed; an installed package is named with its version.

    Args:
        roots: The modules.
        own: Those of them whose installed package is followed all the same: a plugin's.
    """
    key = (tuple(sorted(set(roots))), tuple(own))
    if key in _FOUND:
        found, stamps = _FOUND[key]
        places = {root: file_of(root) for root in key[0]}
        if found.stamps() == stamps and all(found.files.get(r, p) == p for r, p in places.items()):
            return found
    owned = {root: file for root in key[1] if (file := file_of(root))}
    walk = _Walk({each for root, file in owned.items() for each in packages_of(file, root)})
    walk.follow(key[0])
    _FOUND[key] = walk.found, walk.found.stamps()
    return walk.found


class _Walk:
    def __init__(self, own: set[Installed]) -> None:
        self.own = own
        self.found = Closure()
        self._seen: set[tuple[str, bool]] = set()

    def follow(self, roots: Iterable[str]) -> None:
        """Takes in modules, and all that they import."""
        left = [(root, "") for root in roots]
        while left:
            module, importer = left.pop()
            for name in accumulate(module.split("."), "{}.{}".format):  # its packages first
                if (name, is_harness(importer)) not in self._seen:
                    self._seen.add((name, is_harness(importer)))
                    left += [(each, name) for each in self._imports(name, importer)]

    def _imports(self, module: str, importer: str) -> Iterator[str]:
        """The modules that one of them imports, after it has been taken in."""
        if _is_standard(module) or (is_harness(importer) and module.partition(".")[0] not in OWN):
            return  # what the harness is built on is known by what computed a shard, not by its key
        file = file_of(module)
        if module in self.found.files or file is None or not file.is_file():
            return
        owner = owner_of(file, module)
        if owner is Owner.PYTHON:
            return
        packages = () if owner is Owner.PROJECT else packages_of(file, module)
        is_own = owner is Owner.PROJECT or bool(self.own & set(packages))
        if packages and not is_own:
            self.found.tops[module] = file
        if owner is Owner.INSTALLED and not is_own:
            return
        self.found.files[module] = file
        source = source_of(file)
        is_package = file.name.startswith("__init__.")
        for each in source.imports:
            yield from _meant(each, module, is_package=is_package)
        if source.is_open and owner is not Owner.PROJECT:
            yield from _beside(module, file)


def _is_standard(module: str) -> bool:
    return module.partition(".")[0] in sys.stdlib_module_names and module != "__main__"


def _meant(each: Import, importer: str, *, is_package: bool) -> Iterator[str]:
    """The modules that an import may run: the one named, and that which the name in it may be."""
    module = each.module.lstrip(".")
    dots = len(each.module) - len(module)
    if dots:
        spec = getattr(sys.modules.get(importer), "__spec__", None)
        parts = (importer if spec is None else spec.name).split(".")  # as `python -m` calls it
        base = parts[: len(parts) - dots + is_package]
        module = ".".join([*base, module] if module else base)
    if not module or _is_standard(module):
        return
    yield module
    yield from _lazily(each.name, module)
    if each.name and folders_of(module):
        file = file_of(module)
        is_star = each.name == STAR
        stars = source_of(file).stars if is_star and file and file.is_file() else ()
        for name in stars if is_star else (each.name,):
            if file_of(f"{module}.{name}") is not None:
                yield f"{module}.{name}"


def _lazily(name: str, package: str) -> Iterator[str]:
    """The modules behind a name of a package that imports it on first use, as its stub says (`lazy_loader`).

    Where no name is said, any of them may be used.
    """
    file = file_of(package)
    stub = file.with_suffix(".pyi") if file and file.name == "__init__.py" else None
    for each in source_of(stub).imports if stub and stub.is_file() else ():
        if each.module[:1] == "." != each.module[1:2] and name in ("", STAR, each.name):
            yield package + (each.module if each.module != "." else f".{each.name}")


def _beside(module: str, file: Path) -> Iterator[str]:
    """All modules among which one may choose that imports by computed names: its package's, or its folder's."""
    is_package = file.name.startswith("__init__.")
    package = module if is_package else module.rpartition(".")[0]
    folder = file.parents[package.count(".")] if package else file.parent
    top = [package.partition(".")[0]] if package else []
    for each in sorted(folder.rglob("*.py") if package else folder.glob("*.py")):
        parts = each.relative_to(folder).with_suffix("").parts
        names = [*top, *(parts[:-1] if parts[-1] == "__init__" else parts)]
        if names and all(name.isidentifier() for name in names):
            yield ".".join(names)
