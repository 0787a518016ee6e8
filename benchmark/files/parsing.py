"""Files that nobody has reason to trust: plain values out of YAML, and what parsers raise on a damaged one."""

from __future__ import annotations

import math
import pickle
import re
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Hashable
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError
from safetensors import SafetensorError

from benchmark.errors import BenchError

M = TypeVar("M", bound=BaseModel)

MAX_CHARACTERS = 200_000
MAX_DEPTH = 20
"""Lists and mappings inside each other."""
MAX_DIGITS = 18
"""Of a whole number, so that it fits 64 bits everywhere."""


class _Loader(yaml.SafeLoader):
    """YAML 1.2's core types alone: null, true and false, whole and finite numbers, text; each key once.

    Dates stay text, `1e-3` is a number, and `no` is the word that it is.
    """

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 (upstream's)

    def construct_mapping(self, node: yaml.Node, deep: bool = False) -> dict[Hashable, Any]:
        """A mapping, refused where a key stands twice in it."""
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        twice = sorted({key for key in keys if keys.count(key) > 1})
        if twice:
            raise _refused(f"the key {twice[0]!r} occurs more than once", node)
        return super().construct_mapping(node, deep=deep)  # type: ignore[arg-type]


def _number(loader: _Loader, node: yaml.ScalarNode) -> int | float:
    text = str(loader.construct_scalar(node))
    if re.fullmatch(r"[-+]?[0-9]+", text):
        if len(text.lstrip("+-0")) > MAX_DIGITS:
            raise _refused(f"a whole number has at most {MAX_DIGITS} digits", node)
        return int(text)
    value = float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    if not math.isfinite(value):
        raise _refused(f"{text} is no finite number", node)
    return value


def _refused(problem: str, node: yaml.Node) -> yaml.YAMLError:
    return yaml.constructor.ConstructorError(None, None, problem, node.start_mark)


for _tag, _form, _first in (
    ("null", r"^(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", list("tTfF")),
    (
        "float",
        r"^(?:[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$",
        list("-+0123456789."),
    ),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_form), _first)
_Loader.add_constructor("tag:yaml.org,2002:float", _number)


def read_yaml(content: bytes | str, *, where: str) -> Any:
    """The plain value that YAML says: None, booleans, finite numbers, text, lists and mappings of these.

    `where` is what a message calls it: a file, an option.

    Raises:
        BenchError: It is no YAML, too long, too deep, holds aliases or tags, a key twice, a number that is
            not finite or has too many digits.
    """
    if len(content) > MAX_CHARACTERS:
        raise BenchError(
            f"{where}: at most {MAX_CHARACTERS} characters are read; got {len(content)}"
        )
    try:
        _refuse_tricks(content, where)
        return yaml.load(content, Loader=_Loader)
    except yaml.YAMLError as error:
        raise BenchError(
            f"{where}: not plain YAML: {' '.join(str(error).split())[:300]}"
        ) from error


def read_model(content: bytes, model: type[M], *, where: str) -> M:
    """What YAML says, as a pydantic model; `where` is what a message calls it.

    Raises:
        BenchError: As `read_yaml`; or it does not say what such a model says.
    """
    try:
        return model.model_validate(read_yaml(content, where=where))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise BenchError(
            f"{where}: {place}{': ' * bool(place)}{first['msg']}; got {_short(first['input'])}"
        ) from error


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _refuse_tricks(content: bytes | str, where: str) -> None:
    """Refuses, before anything is built, what can grow without bound or make an object."""
    depth = 0
    for event in yaml.parse(content, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent):
            raise BenchError(f"{where}: no YAML aliases are read (they can grow without bound)")
        tag = getattr(event, "tag", None)
        if tag is not None:
            raise BenchError(f"{where}: no YAML tags are read; got {str(tag)[:80]!r}")
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise BenchError(
                f"{where}: at most {MAX_DEPTH} lists and mappings inside each other are read"
            )


DAMAGED: tuple[type[Exception], ...] = (
    SafetensorError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,  # a header that promises more than there is
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    pickle.UnpicklingError,
    struct.error,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)
"""Found by changing bytes of whole files; to be caught around the parser's call and nothing else."""
