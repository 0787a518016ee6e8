"""What RobustBench, timm and torchvision say of the zoo's models, read from their source, not imported."""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

_TIMM_FILES = ("alexnet", "deit", "xcit")
"""RobustBench's files that register models with timm, which fetches their weights by URL."""
_TABLES = ("linf", "l2", "common_corruptions")


@dataclass(frozen=True, slots=True)
class ZooRow:
    """One row of RobustBench's tables.

    Args:
        name: RobustBench's name.
        table: The table's variable in the source: `linf`, `l2` or `common_corruptions`.
        drive_ids: Google Drive's ids of its checkpoints; empty where it has none.
        preparation: The name of what is done to ImageNet images; empty where none is named.
    """

    name: str
    table: str
    drive_ids: tuple[str, ...]
    preparation: str


@dataclass(frozen=True, slots=True)
class Registered:
    """A model that RobustBench registers with timm.

    Args:
        url: Where its weights are.
        preparation: As `Dataset.prepared_for` takes it, what RobustBench derives from timm's configuration.
    """

    url: str
    preparation: str


def rows(dataset: str) -> list[ZooRow]:
    """The rows of RobustBench's tables for a dataset, Linf first, then L2; empty where it is not installed."""
    found: dict[str, list[ZooRow]] = {}
    for node in _statements(r"(linf|l2|common_corruptions) = ", "robustbench/model_zoo", dataset):
        match node:
            case ast.Assign(
                targets=[ast.Name(id=table)], value=ast.Call(args=[ast.List(elts=elements)])
            ) if table in _TABLES:
                found[table] = [row for element in elements for row in _row(element, table)]
    return [row for table in _TABLES for row in found.get(table, [])]


@lru_cache(maxsize=1)
def registered() -> dict[str, Registered]:
    """The models that RobustBench registers with timm, by the name it gives them there."""
    found: dict[str, Registered] = {}
    for file in _TIMM_FILES:
        place = "robustbench/model_zoo/architectures"
        defaults = _defaults(place, file) or _defaults("timm/models", file)
        for node in _statements("default_cfgs = ", place, file):
            match node:
                case ast.Assign(value=ast.Dict(keys=keys, values=values)):
                    for key, value in zip(keys, values, strict=True):
                        if isinstance(key, ast.Constant) and isinstance(value, ast.Call):
                            found[str(key.value)] = _registered(value, defaults)
    return found


@lru_cache(maxsize=8)
def torchvision_url(enum: str) -> str:
    """The URL of torchvision's first weights (`IMAGENET1K_V1`) in an enum of its ResNets; empty if unknown."""
    for node in _statements(rf"class {enum}\(", "torchvision/models", "resnet"):
        for line in node.body if isinstance(node, ast.ClassDef) else ():
            match line:
                case ast.Assign(targets=[ast.Name(id="IMAGENET1K_V1")], value=ast.Call() as call):
                    return str(_constants(call).get("url", ""))
    return ""


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


def _row(element: ast.expr, table: str) -> list[ZooRow]:
    """The row `("name", {"gdrive_id": ...})`; none where it looks otherwise."""
    match element:
        case ast.Tuple(elts=[ast.Constant(value=str(name)), ast.Dict(keys=keys, values=values)]):
            pass
        case _:
            return []
    said = {
        str(key.value): ast.literal_eval(value)
        for key, value in zip(keys, values, strict=True)
        if isinstance(key, ast.Constant) and key.value in ("gdrive_id", "preprocessing")
    }
    ids = said.get("gdrive_id")
    listed = ids if isinstance(ids, list) else [ids]
    return [
        ZooRow(name, table, tuple(str(i) for i in listed if i), said.get("preprocessing") or "")
    ]


def _defaults(place: str, module: str) -> dict[str, object]:
    """What a module's `_cfg(url, **kwargs)` returns, as far as it is literal; empty where it has none."""
    for node in _statements(r"def _cfg\(", place, module):
        for line in node.body if isinstance(node, ast.FunctionDef) else ():
            match line:
                case ast.Return(value=ast.Dict(keys=keys, values=values)):
                    return {
                        str(key.value): ast.literal_eval(value)
                        for key, value in zip(keys, values, strict=True)
                        if isinstance(key, ast.Constant) and _is_literal(value)
                    }
    return {}


def _registered(call: ast.Call, defaults: dict[str, object]) -> Registered:
    said = defaults | _constants(call)
    size, crop = said.get("input_size"), said.get("crop_pct")
    preparation = ""
    if isinstance(size, tuple) and isinstance(crop, float):
        scaled = math.floor(size[1] / crop)  # as robustbench.data.get_timm_model_preprocessing does
        preparation = f"resize:{scaled}:{said.get('interpolation')},crop:{size[1]}"
    return Registered(url=str(said.get("url", "")), preparation=preparation)


def _constants(call: ast.Call) -> dict[str, object]:
    return {
        str(word.arg): ast.literal_eval(word.value)
        for word in call.keywords
        if word.arg and _is_literal(word.value)
    }


def _is_literal(node: ast.expr) -> bool:
    return all(
        isinstance(part, ast.Constant | ast.Tuple | ast.List | ast.Load | ast.UnaryOp | ast.USub)
        for part in ast.walk(node)
    )
