"""Source as a key sees it: the hash of a canonical form, and what is imported.

Comments, layout and docstrings change nothing, all else does.
"""

from __future__ import annotations

import ast
import hashlib
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

Stamp = tuple[int, int, int]
STAR = "*"
_BY_TEXT = frozenset({"import_module", "__import__"})
"""Calls that import what a text names."""
_UNNAMED = frozenset(
    {"iter_modules", "walk_packages", "spec_from_file_location", "run_path", "exec"}
)
"""Calls by which code is run that no import names."""
_IGNORED = frozenset({"ctx", "kind", "type_comment", "type_ignores"})
"""Fields that follow from the place of a node, or from what is a comment."""


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
        is_for_types = _last(node.test) == "TYPE_CHECKING"
        for each in node.orelse if is_for_types else ast.iter_child_nodes(node):
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


def parsed(content: bytes) -> ast.Module:
    """The syntax tree of a module's bytes, without the warnings that its text earns.

    Raises:
        SyntaxError: It is not Python.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(content)


def canonical_sha256(tree: ast.AST) -> str:
    """sha256 of a syntax tree, hex: the same under every version of Python that can read the source.

    Fields that are empty are left out, since newer versions add such; the order of statements stays.
    """
    return hashlib.sha256("".join(f"{word}\n" for word in _words(tree)).encode()).hexdigest()


def _words(tree: ast.AST) -> Iterator[str]:
    """The tree as lines, by a stack of our own: a long sum is a deep tree."""
    left: list[object] = [tree]
    while left:
        item = left.pop()
        if isinstance(item, ast.Constant):
            yield f"{type(item.value).__name__} {constant_text(item.value)}"
        elif isinstance(item, ast.AST):
            yield type(item).__name__
            left.append(_Word("]"))
            for name in reversed(item._fields):
                value = getattr(item, name, None)
                if name not in _IGNORED and value not in (None, []):
                    left += [_kept(item, name, value), _Word(name)]
        elif isinstance(item, list):
            yield "["
            left += [_Word("]"), *reversed(item)]
        else:
            yield str(item) if isinstance(item, _Word) else constant_text(item)


class _Word(str):
    """The name of a field, or the end of a node or a list."""

    __slots__ = ()


def _kept(node: ast.AST, name: str, value: object) -> object:
    """A field without prose, and with the texts of an f-string as Python 3.12 and later join them."""
    if name == "body" and isinstance(value, list):
        return [each for each in value if not _is_prose(each)]
    if isinstance(node, ast.JoinedStr) and isinstance(value, list):
        return _joined(value)
    return value


def _is_prose(statement: ast.AST) -> bool:
    """Whether a statement is a text that stands alone: a docstring, or what explains the line above it."""
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


def _joined(parts: list[ast.AST]) -> list[ast.AST]:
    """The parts of an f-string, neighbouring texts as one, none of them empty."""
    found: list[ast.AST] = []
    for part in parts:
        if not isinstance(part, ast.Constant):
            found.append(part)
        elif part.value and found and isinstance(found[-1], ast.Constant):
            found[-1] = ast.Constant(f"{found[-1].value}{part.value}")  # type: ignore[str-bytes-safe]
        elif part.value:
            found.append(part)
    return found


def constant_text(value: object) -> str:
    """A constant in ASCII: `repr` of a text hangs on the Unicode tables of the version of Python."""
    return hex(value) if type(value) is int else ascii(value)
