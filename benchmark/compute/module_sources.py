"""Modules read without importing them: where they are, which classes they have, which arguments those take."""

from __future__ import annotations

import ast
import importlib.util
import re
import sys
from functools import lru_cache
from importlib.machinery import PathFinder
from pathlib import Path

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
    family = _family(module, name)
    fields: list[str] | None = None
    for kind in family:
        named = {node.name: node for node in kind.body if isinstance(node, ast.FunctionDef)}
        is_fielded = bool(kind.decorator_list)
        own = _fields(kind) if is_fielded else []
        if own is None or kind.keywords or len(kind.bases) != 1 or "__new__" in named:
            return None
        if fields is None and "__init__" in named:
            return _arguments(named["__init__"])
        if is_fielded or fields is not None:
            fields = [*own, *(each for each in fields or () if each not in own)]
    last = family[-1].bases[0] if family else None
    return tuple(fields or ()) if isinstance(last, ast.Name) and last.id in _WITHOUT_OWN else None


def constant_in(module: str, name: str, attribute: str) -> str | None:
    """A text that a class's body gives an attribute, or the body of a base beside it; None where none does.

    Raises:
        SyntaxError: The module is not Python.
    """
    for kind in _family(module, name):
        for node in kind.body:
            match node:
                case ast.Assign(targets=[ast.Name(id=found)], value=ast.Constant(value=str(text))):
                    if found == attribute:
                        return text
    return None


def _family(module: str, name: str) -> list[ast.ClassDef]:
    """A class and its first bases, in their modules, up to an interface or to what no module's text shows."""
    found: list[ast.ClassDef] = []
    while name not in _WITHOUT_OWN:
        kinds, homes = _read(module)
        module = module if name in kinds else homes.get(name, "")
        kind = _read(module)[0].get(name)
        if kind is None or kind in found:
            break
        found.append(kind)
        base = kind.bases[0] if kind.bases else None
        name = base.id if isinstance(base, ast.Name) else ""
    return found


def _fields(kind: ast.ClassDef) -> list[str] | None:
    """The fields of a dataclass, by its text; None where that does not say them, or it is none."""
    options: list[ast.keyword] = []
    match kind.decorator_list:
        case [ast.Name(id="dataclass")]:
            pass
        case [ast.Call(func=ast.Name(id="dataclass"), keywords=options)]:
            pass
        case _:
            return None
    annotated = [
        node
        for node in kind.body
        if isinstance(node, ast.AnnAssign) and "ClassVar" not in ast.unparse(node.annotation)
    ]
    is_plain = all(
        isinstance(node.target, ast.Name) and not isinstance(node.value, ast.Call)
        for node in annotated
    )
    if not is_plain or any(option.arg == "init" for option in options):
        return None
    return [ast.unparse(node.target) for node in annotated]


def _arguments(function: ast.FunctionDef) -> tuple[str, ...] | None:
    said = function.args
    if said.vararg or said.kwarg or function.decorator_list:
        return None
    names = [one.arg for one in (*said.posonlyargs, *said.args, *said.kwonlyargs)]
    return tuple(names[1:])


def _classes(module: str) -> tuple[ast.ClassDef, ...]:
    return tuple(_read(module)[0].values())


def _read(module: str) -> tuple[dict[str, ast.ClassDef], dict[str, str]]:
    """The classes of a module, and the modules of what it imports by name."""
    file = _file(module) if module else None
    return _parsed(file, file.stat().st_mtime_ns) if file else ({}, {})


def _text(module: str) -> str:
    file = _file(module)
    return file.read_bytes().decode("utf-8", "replace") if file else ""


def _file(module: str) -> Path | None:
    file = source_file(module)
    return file if file and file.is_file() else None


@lru_cache(maxsize=64)
def _parsed(file: Path, changed: int) -> tuple[dict[str, ast.ClassDef], dict[str, str]]:
    """What `_read` gives of a file as it is since a moment, which is part of what is remembered."""
    del changed
    body = ast.parse(file.read_bytes(), filename=str(file)).body
    kinds = {node.name: node for node in body if isinstance(node, ast.ClassDef)}
    lines = [node for node in body if isinstance(node, ast.ImportFrom) and not node.level]
    return kinds, {name.name: line.module for line in lines for name in line.names if line.module}


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
