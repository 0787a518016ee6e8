"""Single files as a key sees them: the hash of their canonical form, and what they import."""

from __future__ import annotations

import ast
import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from benchmark.identity.syntax import canonical_sha256, parsed

Stamp = tuple[int, int, int]
STAR = "*"
_BY_TEXT = frozenset({"import_module", "__import__"})
"""Calls that import what a text names."""
_UNNAMED = frozenset(
    {"iter_modules", "walk_packages", "spec_from_file_location", "run_path", "exec"}
)
"""Calls by which code is run that no import names."""


@dataclass(frozen=True, slots=True)
class Import:
    """One import as it stands: `module`, relative with its dots, and a name taken from it, if any."""

    module: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class Source:
    """A file as a key sees it.

    Args:
        sha256: Of its canonical form; of its bytes where it is not Python.
        imports: What it imports, in order.
        stars: The texts of its `__all__`, which `from package import *` imports where they are modules.
        is_open: Whether it may run code that no import in it names.
    """

    sha256: str
    imports: tuple[Import, ...] = ()
    stars: tuple[str, ...] = ()
    is_open: bool = False


def read(path: Path) -> bytes:
    """The bytes of a source file."""
    return path.read_bytes()


def stamp_of(file: Path) -> Stamp | None:
    """What tells whether a file is as it was; None where it has gone."""
    try:
        stat = file.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size, stat.st_ino


def source_of(file: Path) -> Source:
    """A file as a key sees it; read once as long as it is unchanged."""
    return _source(file, stamp_of(file))


@lru_cache(maxsize=20_000)
def _source(file: Path, stamp: Stamp | None) -> Source:
    del stamp
    content = read(file)
    try:
        tree = parsed(content)
    except (SyntaxError, ValueError):  # an extension module, or bytes that are no text
        return Source(hashlib.sha256(content).hexdigest())
    imports = _Imports()
    imports.visit(tree)
    return Source(
        canonical_sha256(tree),
        tuple(dict.fromkeys(imports.found)),
        tuple(imports.stars),
        imports.is_open,
    )


class _Imports(ast.NodeVisitor):
    """The imports of a module, inside functions too, but not those for type checkers alone."""

    def __init__(self) -> None:
        self.found: list[Import] = []
        self.stars: list[str] = []
        self.is_open = False

    def visit_If(self, node: ast.If) -> None:
        if _last(node.test) != "TYPE_CHECKING":
            self.generic_visit(node)
        for each in node.orelse if _last(node.test) == "TYPE_CHECKING" else ():
            self.visit(each)

    def visit_Import(self, node: ast.Import) -> None:
        self.found += [Import(alias.name) for alias in node.names]

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        module = "." * node.level + (node.module or "")
        self.found += [Import(module, alias.name) for alias in node.names]

    def visit_Assign(self, node: ast.Assign) -> None:
        if any(_last(each) == "__all__" for each in node.targets):
            values = [each.value for each in ast.walk(node.value) if isinstance(each, ast.Constant)]
            self.stars += [value for value in values if isinstance(value, str)]
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        called = _last(node.func)
        named = next(iter(node.args), None)
        if called in _BY_TEXT and isinstance(named, ast.Constant) and isinstance(named.value, str):
            self.found.append(Import(named.value))
        elif called in _BY_TEXT | _UNNAMED or (
            called == "eval" and isinstance(node.func, ast.Name)
        ):
            self.is_open = True
        self.generic_visit(node)


def _last(node: ast.AST) -> str:
    """The last part of a dotted name; empty for anything else."""
    found: str = getattr(node, "id", getattr(node, "attr", ""))
    return found
