"""Functions and classes as a key sees them: their syntax, and the names that they take from around them."""

from __future__ import annotations

import ast
import dis
import types
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path

from benchmark.identity.source import read
from benchmark.identity.syntax import canonical_sha256, parsed

_UNSAID = frozenset(
    {
        "__abstractmethods__",
        "__annotations__",
        "__dict__",
        "__doc__",
        "__firstlineno__",
        "__hash__",
        "__match_args__",
        "__module__",
        "__orig_bases__",
        "__parameters__",
        "__qualname__",
        "__slotnames__",
        "__static_attributes__",
        "__weakref__",
    }
)
"""Parts of a class that its source, or its name, says already, or that the interpreter adds."""
_GENERATED = ("__dataclass_", "__attrs_", "_abc_")


def namespace_of(kind: type) -> list[tuple[str, object]]:
    """What a class's body gave it, by name, without what a decorator generated from the rest of it."""
    is_generated = any(
        hasattr(kind, name)
        for name in ("__dataclass_fields__", "__attrs_attrs__", "_field_defaults")
    )
    return [
        (name, item)
        for name, item in sorted(vars(kind).items())
        if name not in _UNSAID
        and not name.startswith(_GENERATED)
        and not isinstance(item, types.MemberDescriptorType | types.GetSetDescriptorType)
        and not (is_generated and name.startswith("_") and _is_textless(item))
    ]


def _is_textless(item: object) -> bool:
    """Whether something is a function that a text was run for."""
    code = getattr(getattr(item, "__func__", item), "__code__", None)
    return isinstance(code, types.CodeType) and code.co_filename.startswith("<")


def globals_in(
    function: types.FunctionType, is_users: Callable[[str], bool]
) -> Iterator[tuple[str, object]]:
    """The globals that a function takes, by name, and what it takes out of modules of the user's among them."""
    around = function.__globals__
    taken, attributes = _names(function.__code__)
    for name in sorted(taken):
        if name not in around:
            continue
        item = around[name]
        yield name, item
        if isinstance(item, types.ModuleType) and is_users(item.__name__):
            for attribute in sorted(attributes):
                if attribute in vars(item):
                    yield f"{name}.{attribute}", vars(item)[attribute]


@lru_cache(maxsize=10_000)
def _names(code: types.CodeType) -> tuple[frozenset[str], frozenset[str]]:
    """The global names that code takes, its inner functions' too, and all names that it takes from objects."""
    taken = {
        str(each.argval)
        for each in dis.get_instructions(code)
        if each.opname in ("LOAD_GLOBAL", "LOAD_NAME")
    }
    attributes = set(code.co_names)
    for inner in code.co_consts:
        if isinstance(inner, types.CodeType):
            more, others = _names(inner)
            taken |= more
            attributes |= others
    return frozenset(taken), frozenset(attributes)


def node_sha256(code: types.CodeType) -> str | None:
    """sha256 of the syntax of a function, where its file is to be had and it stands there; else None."""
    file = Path(code.co_filename)
    if not file.is_file():
        return None
    found = [
        node
        for node in _functions(file, file.stat().st_mtime_ns).get(code.co_firstlineno, ())
        if getattr(node, "name", "<lambda>") == code.co_name
    ]
    if len(found) > 1:
        places = {
            (line, column) for line, _, column, _ in code.co_positions() if column is not None
        }
        found = [node for node in found if places & set(_starts(node))] or found
    return canonical_sha256(found[0]) if found else None


def _starts(node: ast.AST) -> Iterator[tuple[int, int]]:
    """Where the expressions of a function's body begin."""
    for each in ast.walk(node.body) if isinstance(node, ast.Lambda) else ():
        if isinstance(each, ast.expr):
            yield each.lineno, each.col_offset


@lru_cache(maxsize=16)
def _functions(file: Path, changed: int) -> dict[int, list[ast.AST]]:
    """The functions of a file by their first line, decorators included."""
    del changed
    found: dict[int, list[ast.AST]] = {}
    try:
        tree = parsed(read(file))
    except (SyntaxError, ValueError):
        return found
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            lines = [each.lineno for each in getattr(node, "decorator_list", ())]
            found.setdefault(min([node.lineno, *lines]), []).append(node)
    return found
