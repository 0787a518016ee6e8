"""What RobustBench, timm and torchvision say of the zoo's models, read from their source, not imported."""

from __future__ import annotations

import ast
import contextlib
import math
import re
from collections.abc import Iterator
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

_TIMM_FILES = ("alexnet", "deit", "xcit")
"""RobustBench's files that register models with timm, which fetches their weights by URL."""
_TABLES = ("linf", "l2", "common_corruptions")


def rows(dataset: str) -> list[tuple[str, str, dict[str, Any]]]:
    """RobustBench's tables for a dataset, Linf first, then L2; empty where it is not installed.

    Returns:
        Of each row the table's variable in the source (`linf`, `l2` or `common_corruptions`), the model's name,
        and what is literal of the rest: `gdrive_id`, one or several or none, and `preprocessing`.
    """
    found: list[tuple[str, str, dict[str, Any]]] = []
    for node in _statements(rf"({'|'.join(_TABLES)}) = ", "robustbench/model_zoo", dataset):
        match node:
            case ast.Assign(
                targets=[ast.Name(id=table)], value=ast.Call(args=[ast.List(elts=elements)])
            ):
                for row in elements:
                    match row:
                        case ast.Tuple(elts=[ast.Constant(value=str(name)), ast.Dict() as said]):
                            found.append((table, name, _literals(said)))
    return sorted(found, key=lambda row: _TABLES.index(row[0]))


@lru_cache(maxsize=1)
def registered() -> dict[str, tuple[str, str]]:
    """The models that RobustBench registers with timm, by the name it gives them there.

    Returns:
        Of each the URL of its weights, and the preparation that RobustBench derives from timm's configuration,
        as `Dataset.prepared_for` takes it.
    """
    found: dict[str, tuple[str, str]] = {}
    for file in _TIMM_FILES:
        place = "robustbench/model_zoo/architectures"
        defaults = _defaults(place, file) or _defaults("timm/models", file)
        for node in _statements("default_cfgs = ", place, file):
            for name, call in _named(node.value) if isinstance(node, ast.Assign) else ():
                found[name] = _registered(defaults | _literals(call))
    return found


def _statements(beginning: str, place: str, module: str) -> Iterator[ast.stmt]:
    """The statements at the top of a module whose text begins so; nothing else of it is parsed.

    Args:
        beginning: A regular expression.
        place: The package and the folders in it: `timm/models`.
        module: The file's name without `.py`.
    """
    package, *folders = place.split("/")
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return
    root = Path(next(iter(spec.submodule_search_locations)))
    source = root.joinpath(*folders, f"{module}.py")
    if not source.is_file():
        return
    text = source.read_text(encoding="utf-8")
    for start in re.finditer(rf"^{beginning}", text, re.MULTILINE):
        end = re.compile(r"\n(?=[\w@#\"'])").search(text, start.end())
        yield from ast.parse(text[start.start() : end.start() if end else None]).body


def _defaults(place: str, module: str) -> dict[str, Any]:
    """What a module's `_cfg(url, **kwargs)` returns, as far as it is literal; empty where it has none."""
    for node in _statements(r"def _cfg\(", place, module):
        for line in node.body if isinstance(node, ast.FunctionDef) else ():
            if isinstance(line, ast.Return) and isinstance(line.value, ast.Dict):
                return _literals(line.value)
    return {}


def _registered(said: dict[str, Any]) -> tuple[str, str]:
    size, crop = said.get("input_size"), said.get("crop_pct")
    preparation = ""
    if isinstance(size, tuple) and isinstance(crop, float):
        scaled = math.floor(size[1] / crop)  # as robustbench.data.get_timm_model_preprocessing does
        preparation = f"resize:{scaled}:{said.get('interpolation')},crop:{size[1]}"
    return str(said.get("url", "")), preparation


def _literals(node: ast.expr) -> dict[str, Any]:
    """What a mapping or a call's keywords say, as far as it is literal."""
    found = {}
    for name, value in _named(node):
        with contextlib.suppress(ValueError):
            found[name] = ast.literal_eval(value)
    return found


def _named(node: ast.expr) -> Iterator[tuple[str, ast.expr]]:
    """The values of a mapping or of a call's keywords, by name; none of anything else."""
    match node:
        case ast.Call(keywords=words):
            yield from ((str(word.arg), word.value) for word in words)
        case ast.Dict(keys=keys, values=values):
            for key, value in zip(keys, values, strict=True):
                if isinstance(key, ast.Constant):
                    yield str(key.value), value
