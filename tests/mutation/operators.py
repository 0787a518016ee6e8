"""Mutants of a module: one comparison, operator, constant, condition or call changed in its syntax tree."""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator
from dataclasses import dataclass

_SWAPPED: dict[type[ast.AST], tuple[type[ast.AST], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
    ast.Add: (ast.Sub,),
    ast.Sub: (ast.Add,),
    ast.Mult: (ast.Div,),
    ast.Div: (ast.Mult,),
    ast.FloorDiv: (ast.Mult,),
    ast.Mod: (ast.FloorDiv,),
    ast.Pow: (ast.Mult,),
    ast.BitAnd: (ast.BitOr,),
    ast.BitOr: (ast.BitAnd,),
    ast.RShift: (ast.LShift,),
    ast.LShift: (ast.RShift,),
    ast.And: (ast.Or,),
    ast.Or: (ast.And,),
}
_PAIRS = (
    ("min", "max"),
    ("amin", "amax"),
    ("argmin", "argmax"),
    ("clamp_min", "clamp_max"),
    ("minimum", "maximum"),
    ("floor", "ceil"),
    ("any", "all"),
    ("sin", "cos"),
    ("zeros_like", "ones_like"),
)
_RENAMED = {**dict(_PAIRS), **{b: a for a, b in _PAIRS}}
_REMOVED = frozenset({"abs", "clamp", "clamp_", "sign", "round", "sqrt", "square", "exp", "log"})


Path = tuple[tuple[str, int | None], ...]
"""From a tree to a node in it: fields, and positions in those that are lists."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """A module with one change; `key` names it by what the code says, so that it survives shifted lines."""

    module: str
    line: int
    where: str
    """Qualified name of the innermost function or class, empty for the module itself."""
    change: str
    """The statement (of a compound one its head) before and after."""
    is_inside: bool
    """Whether it stands in a function's body; else it takes effect as the module is imported."""
    source: str
    path: Path
    replacement: ast.AST

    @property
    def key(self) -> tuple[str, str]:
        """Place and change, as the list of equivalent mutants has them."""
        return f"{self.module}:{self.where}", self.change

    def tree(self) -> ast.Module:
        """The mutated module."""
        tree = ast.parse(self.source)
        _put(tree, self.path, self.replacement)
        return ast.fix_missing_locations(tree)


def mutants_of(module: str, source: str) -> Iterator[Mutant]:
    """All mutants of a module, in the order of its lines."""
    tree = ast.parse(source)
    for where, statement, path in list(_sites(tree, "", (), ())):
        site, before = _at(tree, path), _head(_at(tree, statement))
        inside = any(
            isinstance(_at(tree, path[:i]), ast.FunctionDef) and path[i][0] == "body"
            for i in range(len(path))
        )
        for other in _mutations(site, is_condition=path[-1] == ("test", None)):
            _put(tree, path, other)
            change = f"{before}  =>  {_head(_at(tree, statement))}"
            _put(tree, path, site)
            yield Mutant(module, site.lineno, where, change, inside, source, path, other)


def _sites(
    node: ast.AST, where: str, statement: Path, path: Path
) -> Iterator[tuple[str, Path, Path]]:
    """Scope, path of the statement and path of each node that may decide something."""
    if isinstance(node, ast.Raise) or (isinstance(node, ast.Expr) and _is_text(node.value)):
        return  # messages and docstrings
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        where = f"{where}.{node.name}".lstrip(".")
    if isinstance(node, ast.stmt):
        statement = path
    if isinstance(node, ast.expr | ast.AugAssign):
        yield where, statement, path
    for field, value in ast.iter_fields(node):
        if field in ("annotation", "returns", "decorator_list", "bases"):
            continue
        if isinstance(value, ast.AST):
            yield from _sites(value, where, statement, (*path, (field, None)))
        elif isinstance(value, list):
            for i, each in enumerate(value):
                if isinstance(each, ast.AST):
                    yield from _sites(each, where, statement, (*path, (field, i)))


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _at(node: ast.AST, path: Path) -> ast.AST:
    for field, index in path:
        node = getattr(node, field) if index is None else getattr(node, field)[index]
    return node


def _put(tree: ast.AST, path: Path, node: ast.AST) -> None:
    parent, (field, index) = _at(tree, path[:-1]), path[-1]
    if index is None:
        setattr(parent, field, node)
    else:
        getattr(parent, field)[index] = node


def _head(statement: ast.AST) -> str:
    """A statement's text without the statements inside it, on one line."""
    bare = copy.deepcopy(statement)
    for field in ("body", "orelse", "handlers", "finalbody"):
        if isinstance(getattr(bare, field, None), list):
            setattr(bare, field, [ast.Pass()] if field == "body" else [])
    return " ".join(ast.unparse(bare).removesuffix("pass").split())


def _mutations(node: ast.AST, *, is_condition: bool) -> Iterator[ast.AST]:
    """What may stand in the place of a node."""
    if isinstance(node, ast.Compare):
        for i, op in enumerate(node.ops):
            for other in _SWAPPED[type(op)]:
                yield _changed(node, ops=[*node.ops[:i], other(), *node.ops[i + 1 :]])
    elif isinstance(node, ast.BinOp | ast.BoolOp | ast.AugAssign) and type(node.op) in _SWAPPED:
        yield _changed(node, op=_SWAPPED[type(node.op)][0]())
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub):
        yield node.operand
    elif isinstance(node, ast.Constant):
        yield from (ast.Constant(value) for value in _other_values(node.value))
    elif isinstance(node, ast.Call):
        yield from _other_calls(node)
    if is_condition and not isinstance(node, ast.Compare | ast.UnaryOp | ast.BoolOp):
        yield ast.UnaryOp(ast.Not(), node)


def _other_values(value: object) -> tuple[object, ...]:
    if isinstance(value, bool):
        return (not value,)
    if isinstance(value, int):
        return (1,) if value == 0 else (0, 2) if value == 1 else (value + 1,)
    if isinstance(value, float):
        return (1.0,) if value == 0 else (2 * value,)
    return ()


def _other_calls(node: ast.Call) -> Iterator[ast.AST]:
    name = getattr(node.func, "attr", getattr(node.func, "id", ""))
    if name in _RENAMED:
        key = "attr" if isinstance(node.func, ast.Attribute) else "id"
        yield _changed(node, func=_changed(node.func, **{key: _RENAMED[name]}))
    if name in _REMOVED:
        is_method = isinstance(node.func, ast.Attribute) and not (
            isinstance(node.func.value, ast.Name) and node.func.value.id in ("torch", "math", "np")
        )
        yield node.func.value if is_method else node.args[0]


def _changed(node: ast.AST, **fields: object) -> ast.AST:
    changed = copy.copy(node)
    for name, value in fields.items():
        setattr(changed, name, value)
    return changed
