"""Modules read without importing them: where they are, which classes they have, which arguments those take."""

from __future__ import annotations

import ast
import re
import sys
from functools import lru_cache
from importlib.machinery import ModuleSpec
from itertools import accumulate
from pathlib import Path

_DYNAMIC = re.compile(
    r"import\s*\*|__getattr__|globals\s*\(|locals\s*\(|vars\s*\(|exec\s*\(|setattr"
)
"""What lets a module have names that its text does not show."""
_WITHOUT_OWN = frozenset({"Attack", "Defense", "Recipe"})
"""Interfaces that have no constructor of their own."""


def is_missing(module: str) -> bool:
    """Whether nothing of that name can be imported, as far as this is sure without importing anything."""
    return module not in sys.modules and _spec(module) is None and _is_settled(module)


def source_file(module: str) -> Path | None:
    """The Python file of a module, which is not imported; None where there is none, or only an import tells."""
    file = file_of(module) if module in sys.modules or _is_settled(module) else None
    return file if file and file.suffix == ".py" and file.is_file() else None


def _is_settled(module: str) -> bool:
    """Whether no package above a module looks for its submodules elsewhere than in its own folder."""
    parents = accumulate(module.split(".")[:-1], "{}.{}".format)
    files = [file for each in parents if (file := file_of(each)) and file.suffix == ".py"]
    return not any("__path__" in file.read_text(errors="replace") for file in files)


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


def lacks_name(module: str, name: str) -> bool:
    """Whether a module has nothing of that name, as far as that is sure without importing it."""
    if module in sys.modules:
        return not hasattr(sys.modules[module], name)
    file = source_file(module)
    text = file.read_bytes().decode("utf-8", "replace") if file else ""
    return bool(text) and not _DYNAMIC.search(text) and not re.search(rf"\b{name}\b", text)


def classes_in(module: str, *, are_derived: bool = False) -> list[str]:
    """The names of the classes that stand in a module's text, in order; none where that is not to be had.

    Args:
        module: Its name.
        are_derived: Only those that are subclasses of something.

    Raises:
        SyntaxError: The module is not Python.
    """
    return [kind.name for kind in _read(module)[0].values() if kind.bases or not are_derived]


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


def _read(module: str) -> tuple[dict[str, ast.ClassDef], dict[str, str]]:
    """The classes of a module, and the modules of what it imports by name."""
    file = source_file(module) if module else None
    return _parsed(file, file.stat().st_mtime_ns) if file else ({}, {})


@lru_cache(maxsize=64)
def _parsed(file: Path, changed: int) -> tuple[dict[str, ast.ClassDef], dict[str, str]]:
    """What `_read` gives of a file as it is since a moment, which is part of what is remembered."""
    del changed
    body = ast.parse(file.read_bytes(), filename=str(file)).body
    kinds = {node.name: node for node in body if isinstance(node, ast.ClassDef)}
    lines = [node for node in body if isinstance(node, ast.ImportFrom) and not node.level]
    return kinds, {name.name: line.module for line in lines for name in line.names if line.module}
