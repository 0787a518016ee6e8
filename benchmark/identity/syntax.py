"""A canonical form of Python source: comments, layout and docstrings change nothing, all else does."""

from __future__ import annotations

import ast
import hashlib
import warnings
from collections.abc import Iterator

_IGNORED = frozenset({"ctx", "kind", "type_comment", "type_ignores"})
"""Fields that follow from the place of a node, or from what is a comment."""


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
