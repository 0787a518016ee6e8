"""Modules read without importing them: where they are, which classes they have, which arguments those take."""

from __future__ import annotations

import ast
import importlib.util
import re
import sys
from functools import lru_cache
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TypeGuard

_DYNAMIC = re.compile(
    r"import\s*\*|__getattr__|globals\s*\(|locals\s*\(|vars\s*\(|exec\s*\(|setattr"
)
"""What lets a module have names that its text does not show."""
_WITHOUT_OWN = frozenset({"Attack", "Defense", "Recipe"})
"""Interfaces that have no constructor of their own."""


def is_missing(module: str) -> bool:
    """Whether nothing of that name can be imported, as far as this is sure without importing anything."""
    return module not in sys.modules and _place(module) == (None, True)


def source_file(module: str) -> Path | None:
    """The Python file of a module, which is not imported; None where there is none, or only an import tells."""
    loaded = getattr(sys.modules.get(module), "__file__", None)
    found = loaded or _place(module)[0]
    return Path(found) if found and Path(found).suffix == ".py" else None


def lacks_name(module: str, name: str) -> bool:
    """Whether a module has nothing of that name, as far as that is sure without importing it."""
    if module in sys.modules:
        return not hasattr(sys.modules[module], name)
    text = _text(module)
    return bool(text) and not _DYNAMIC.search(text) and not re.search(rf"\b{name}\b", text)


def classes_in(module: str, *, are_derived: bool = False) -> list[str]:
    """The names of the classes that stand in a module's text, in order; none where that is not to be had.

    Args:
        module: Its name.
        are_derived: Only those that are subclasses of something.

    Raises:
        SyntaxError: The module is not Python.
    """
    return [kind.name for kind in _classes(module) if kind.bases or not are_derived]


def arguments_in(module: str, name: str) -> tuple[str, ...] | None:
    """The arguments that a class's constructor takes, by its text; None where that does not say it.

    Raises:
        SyntaxError: The module is not Python.
    """
    kind = next((k for k in _classes(module) if k.name == name), None)
    if kind is None:
        return None
    named = [node.name for node in kind.body if isinstance(node, ast.FunctionDef)]
    if kind.decorator_list or kind.keywords or len(kind.bases) != 1 or "__new__" in named:
        return None
    if "__init__" in named:
        return _arguments(next(node for node in kind.body if _is_constructor(node)))
    base = kind.bases[0].id if isinstance(kind.bases[0], ast.Name) else name
    if base in _WITHOUT_OWN:
        return ()
    return None if base == name else arguments_in(module, base)


def _is_constructor(node: ast.stmt) -> TypeGuard[ast.FunctionDef]:
    return isinstance(node, ast.FunctionDef) and node.name == "__init__"


def _arguments(function: ast.FunctionDef) -> tuple[str, ...] | None:
    said = function.args
    if said.vararg or said.kwarg or function.decorator_list:
        return None
    names = [one.arg for one in (*said.posonlyargs, *said.args, *said.kwonlyargs)]
    return tuple(names[1:])


def _classes(module: str) -> list[ast.ClassDef]:
    body = ast.parse(_text(module), filename=str(source_file(module))).body
    return [node for node in body if isinstance(node, ast.ClassDef)]


def _text(module: str) -> str:
    file = source_file(module)
    return _read(file, file.stat().st_mtime_ns) if file and file.is_file() else ""


@lru_cache(maxsize=64)
def _read(file: Path, changed: int) -> str:
    del changed  # part of what is remembered
    return file.read_bytes().decode("utf-8", "replace")


def _place(module: str) -> tuple[str | None, bool]:
    """The file of a module, if it has one, and whether it is sure that there is no such module."""
    top, *below = module.split(".")
    try:
        spec = importlib.util.find_spec(top)  # of a name without a dot, it imports nothing
        name = top
        for part in below:
            if spec is None or spec.submodule_search_locations is None:
                return None, True
            if "__path__" in _contents(spec.origin):  # it may look elsewhere
                return None, False
            name = f"{name}.{part}"
            spec = PathFinder.find_spec(name, list(spec.submodule_search_locations))
    except (ImportError, KeyError, ValueError):  # only an import can tell
        return None, False
    return (None, True) if spec is None else (spec.origin, False)


def _contents(file: str | None) -> str:
    return Path(file).read_text(errors="replace") if file and file.endswith(".py") else ""
