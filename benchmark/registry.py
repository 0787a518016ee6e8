"""Names of plugins: `name -> "module:Class"`, imported when looked up, never when listed."""

from __future__ import annotations

import contextlib
import difflib
import importlib
import logging
import threading
from collections.abc import Iterable, Iterator
from importlib.metadata import entry_points
from typing import Any, Generic, TypeVar

from benchmark.containment import contained
from benchmark.errors import BenchError

log = logging.getLogger(__name__)

T = TypeVar("T")

SLOW_SECONDS = 10.0
"""After so long an import of somebody else's plugin is mentioned."""
_OURS = frozenset({"attacks", "benchmark", "defenses"})


def unknown(kind: str, name: str, known: Iterable[str]) -> BenchError:
    """The error for a name that nobody has, with what is near and what there is."""
    names = sorted(known)
    near = difflib.get_close_matches(name.lower(), names, n=3, cutoff=0.6)
    hint = f" Did you mean {' or '.join(repr(n) for n in near)}?" if near else ""
    return BenchError(f"no {kind} is called {name!r}.{hint} Known: {', '.join(names)}")


class Registry(Generic[T]):
    """Plugins of one kind, by name.

    Args:
        kind: What a message calls one of them ("defense").
        base: The class that every plugin of this kind must be a subclass of; `"module:Class"`, so that
            making a registry imports nothing.
        group: The entry-point group through which other packages add theirs.
    """

    def __init__(self, kind: str, *, base: str, group: str) -> None:
        self.kind = kind
        self.base = base
        self.group = group
        self._own: dict[str, str] = {}
        self._notes: dict[str, str] = {}

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
        for point in entry_points(group=self.group):
            if found.get(point.name, point.value) != point.value:
                raise BenchError(
                    f"two packages call a {self.kind} {point.name!r}: {found[point.name]} and "
                    f"{point.value}; uninstall one of them, or name the class as module:Class"
                )
            found[point.name] = point.value
        return found

    def names(self) -> list[str]:
        """All names, sorted; imports no plugin."""
        return sorted(self.paths())

    def note(self, name: str) -> str:
        """One line about a plugin, for a listing; empty where none was given."""
        return self._notes.get(name, "")

    def get(self, name: str) -> type[T]:
        """The class behind a name, or behind a direct `module:Class`.

        Raises:
            BenchError: Nothing has that name, it cannot be imported, or it is not of this kind.
        """
        path = name if ":" in name else self.paths().get(name)
        if path is None:
            raise unknown(self.kind, name, self.paths())
        found = self._load(path)
        base = self._load(self.base)
        if not (isinstance(found, type) and issubclass(found, base)):
            raise BenchError(f"{path} is no {self.kind}: it must be a subclass of {self.base}")
        return found

    def _load(self, path: str) -> type[T]:
        return imported(path, what=self.kind)  # type: ignore[no-any-return]


def imported(path: str, *, what: str) -> Any:
    """What `module:attribute` names; whatever happens while the module is imported is one line.

    Args:
        path: `module:attribute`.
        what: What a message calls it ("defense").

    Raises:
        BenchError: It is not of that form, is not there, or its module cannot be imported.
    """
    module, colon, attribute = path.partition(":")
    names = [*module.split("."), attribute]
    if not colon or not all(name.isidentifier() for name in names):
        raise BenchError(f"{what} {path!r} is not understood: expected module:Class")
    seconds = SLOW_SECONDS if names[0] not in _OURS else threading.TIMEOUT_MAX
    with contained(f"importing {what} {path!r}"), _said_after(seconds, f"{what} {path!r}"):
        try:
            found = importlib.import_module(module)
        except ImportError as error:
            raise BenchError(
                f"{what} {path!r} cannot be imported: {error}; expected module:Class, with the "
                f"module installed or in the current folder"
            ) from error
        except SyntaxError as error:
            raise BenchError(
                f"{what} {path!r} cannot be imported: {error.msg}, {error.filename}, line {error.lineno}"
            ) from error
        if not hasattr(found, attribute):
            raise BenchError(f"module {module!r} has no {attribute!r}; expected module:Class")
        return getattr(found, attribute)


@contextlib.contextmanager
def _said_after(seconds: float, what: str) -> Iterator[None]:
    """Says what is being imported where that takes long, so that nobody thinks that nothing happens."""
    timer = threading.Timer(seconds, log.warning, ["still importing %s", what])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
