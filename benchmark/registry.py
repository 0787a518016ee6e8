"""Names of plugins: `name -> "module:Class"`, imported when looked up, never when listed."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.metadata import EntryPoints, entry_points
from typing import Generic, TypeVar

from benchmark.compute.imports import FORM, imported, meant, refuse_absent
from benchmark.errors import BenchError, did_you_mean, near, quoted, unknown

__all__ = ["Registry", "imported", "path_of", "unknown"]

T = TypeVar("T")


@lru_cache(maxsize=16)
def _points(group: str, path: tuple[str, ...]) -> EntryPoints:
    """What the installed packages add, read once for each path of imports: it takes a twelfth of a second."""
    del path
    return entry_points(group=group)


def path_of(kind: type) -> str:
    """The `"module:Class"` of a class."""
    return f"{kind.__module__}:{kind.__qualname__}"


@dataclass(eq=False)
class Registry(Generic[T]):
    """Plugins of one kind, by name.

    Args:
        kind: What a message calls one of them ("defense").
        base: The class that every plugin of this kind must be a subclass of; `"module:Class"`, so that
            making a registry imports nothing.
        group: The entry-point group through which other packages add theirs.
        files: How a file is named in the place of a plugin, by the end of its name: `{".npz": "npz:{}"}`.
    """

    kind: str
    base: str = field(kw_only=True)
    group: str = field(kw_only=True)
    files: Mapping[str, str] = field(kw_only=True, default_factory=dict)
    _own: dict[str, str] = field(init=False, default_factory=dict)
    _notes: dict[str, str] = field(init=False, default_factory=dict)

    def add(self, name: str, path: str, note: str = "") -> None:
        """Adds a plugin of this project.

        Raises:
            ValueError: The name is taken; the last one never wins silently.
        """
        if name in self._own:
            raise ValueError(f"{self.kind} {name!r} is registered twice: {self._own[name]}, {path}")
        self._own[name] = path
        self._notes[name] = note

    def paths(self) -> dict[str, str]:
        """All names with their `"module:Class"`, this project's first, then the installed packages'.

        Raises:
            BenchError: Two packages claim one name.
        """
        found = dict(self._own)
        for point in _points(self.group, tuple(sys.path)):
            if found.get(point.name, point.value) != point.value:
                raise BenchError(
                    f"two packages call a {self.kind} {point.name!r}: {found[point.name]} and "
                    f"{point.value}; uninstall one of them, or name the class as module:Class"
                )
            found[point.name] = point.value
        return found

    def own(self) -> list[str]:
        """The names of this project's plugins, in the order of their registration."""
        return list(self._own)

    def names(self) -> list[str]:
        """All names, sorted; imports no plugin."""
        return sorted(self.paths())

    def note(self, name: str) -> str:
        """One line about a plugin, for a listing; empty where none was given."""
        return self._notes.get(name, "")

    def path_of(self, name: str) -> str:
        """The `"module:Class"` behind a name, or behind a direct one; imports nothing.

        Raises:
            BenchError: Nothing has that name, or what is named directly is not there, as far as that is
                sure without an import.
        """
        if ":" in name:
            self._refuse_other_form(name)
            refuse_absent(name, what=self.kind)
            return name
        paths = self.paths()
        if name not in paths:
            raise self.unknown(name, paths)
        return paths[name]

    def get(self, name: str) -> type[T]:
        """The class behind a name, or behind a direct `module:Class`.

        Raises:
            BenchError: Nothing has that name, it cannot be imported, or it is not of this kind.
        """
        path = self.path_of(name)
        found, base = self._load(path), self._load(self.base)
        if not (isinstance(found, type) and issubclass(found, base)):
            raise self._other_kind(path, found, base)
        return found

    def unknown(self, name: str, known: Iterable[str]) -> BenchError:
        """The error for a name that nothing has, with what was probably meant."""
        hint = self.meant(name)
        if hint:
            return BenchError(f"no {self.kind} is called {quoted(name)}{hint}")
        return unknown(self.kind, name, known)

    def meant(self, name: str) -> str:
        """What somebody may have meant who named a file or a module; empty for other text."""
        for suffix, form in self.files.items():
            if name.endswith(suffix):
                return f"; for a file write {form.format(name)}"
        return meant(name)

    def _refuse_other_form(self, name: str) -> None:
        """Refuses `NPZ:FILE` and the like, before it is taken for a module."""
        typed, _, rest = name.partition(":")
        forms = {form.partition(":")[0]: form for form in self.files.values()}
        for prefix in near(typed, forms):
            raise BenchError(
                f"{self.kind} {quoted(name)} is not understood: expected {FORM} or "
                f"{forms[prefix].format('FILE')}.{did_you_mean([f'{prefix}:{rest}'])}"
            )

    def _other_kind(self, path: str, found: object, base: type) -> BenchError:
        """The error for what is no plugin of this kind, with those that stand beside it."""
        module = path.partition(":")[0]
        beside = inspect.getmembers(sys.modules.get(module), inspect.isclass)
        names = [
            f"{module}:{name}"
            for name, kind in beside
            if issubclass(kind, base) and kind is not base and not inspect.isabstract(kind)
        ]
        is_object = "an object, not a class, and " if isinstance(found, base) else ""
        return BenchError(
            f"{path} is {is_object}no {self.kind}: it must be a subclass of {self.base}."
            f"{did_you_mean(names[:3])}"
        )

    def _load(self, path: str) -> type[T]:
        return imported(path, what=self.kind)  # type: ignore[no-any-return]
