"""Belongings: everything that an object holds and could write to, each as a checksum under its path."""

from __future__ import annotations

import functools
import random
import types
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Set
from typing import Any

import numpy as np
import torch
from torch import Tensor

_DEEP = 12
"""Attributes of attributes that are followed."""
_MANY = 10_000
"""Items of one container that are looked at."""
_FOREIGN = ("torch", "numpy", "builtins", "abc", "benchmark", "typing")
"""Packages whose classes are not looked at: what they keep is nobody's plugin's."""


def belongings(
    root: object,
    *,
    is_kept: Callable[[object], bool] = lambda value: True,  # noqa: ARG005
) -> dict[str, int]:
    """Checksums of the tensors, arrays, numbers, texts and generators that are reachable from an object.

    Attributes, containers, closures and the class's own attributes are followed, each object once. Not seen is
    what a module keeps globally, and what code that is not Python keeps.

    Args:
        root: Such as a defense or a network.
        is_kept: Which of them are wanted; all by default.

    Returns:
        By path, such as `network.bn.running_mean`.
    """
    found: dict[str, int] = {}
    seen: dict[int, object] = {}  # kept, so that no two share an id
    waiting: deque[tuple[str, object, int]] = deque([("", root, 0)])
    while waiting:
        path, value, depth = waiting.popleft()
        checksum = _checksum(value)
        if checksum is not None:
            found |= {path: checksum} if is_kept(value) else {}
        elif depth < _DEEP and id(value) not in seen:
            seen[id(value)] = value
            for name, part in _parts(value):
                waiting.append((f"{path}.{name}" if path else name, part, depth + 1))
    return found


def differing(before: Mapping[str, int], after: Mapping[str, int]) -> list[str]:
    """The paths at which two checksums differ, or that only one of them has."""
    return [path for path in {**before, **after} if before.get(path) != after.get(path)]


def _checksum(value: object) -> int | None:
    """Of what has content of its own; None of what only holds others."""
    if isinstance(value, Tensor):
        return _of_tensor(value)
    if isinstance(value, np.ndarray):
        return (
            zlib.crc32(value.tobytes())
            if value.dtype != object
            else zlib.crc32(repr(value).encode())
        )
    if value is None or isinstance(value, int | float | complex | str | bytes | np.generic):
        return zlib.crc32(f"{type(value).__name__}:{value!r}".encode())
    if isinstance(value, torch.Generator):
        return _of_tensor(value.get_state())
    if isinstance(value, np.random.Generator):
        return zlib.crc32(repr(value.bit_generator.state).encode())
    if isinstance(value, np.random.RandomState):
        return zlib.crc32(repr(value.get_state(legacy=False)).encode())
    if isinstance(value, random.Random):
        return zlib.crc32(repr(value.getstate()).encode())
    return None


def _of_tensor(tensor: Tensor) -> int:
    plain = tensor.detach()
    if plain.is_meta or plain.layout is not torch.strided or plain.is_quantized:
        return zlib.crc32(f"{plain.layout} {tuple(plain.shape)}".encode())
    flat = plain.contiguous().reshape(-1).cpu()
    return zlib.crc32(flat.view(torch.uint8).numpy().data, len(flat)) if len(flat) else 0


def _parts(value: object) -> Iterator[tuple[str, object]]:
    """What a value holds, by name."""
    if isinstance(value, type | types.ModuleType | property):
        return
    if isinstance(value, Mapping):
        for key, part in list(value.items())[:_MANY]:
            yield str(key), part
    elif isinstance(value, list | tuple | deque | Set):
        for i, part in enumerate(list(value)[:_MANY]):
            yield str(i), part
    elif isinstance(value, functools.partial):
        yield from (("func", value.func), ("args", value.args), ("keywords", value.keywords))
    elif isinstance(value, types.MethodType):
        yield from (("self", value.__self__), ("function", value.__func__))
    elif isinstance(value, types.FunctionType):
        for i, cell in enumerate(value.__closure__ or ()):
            yield f"closure {i}", cell_content(cell)
        yield from vars(value).items()
    else:
        yield from _attributes(value)


def cell_content(cell: types.CellType) -> object:
    """What a closure's cell holds; None where it is still empty."""
    try:
        return cell.cell_contents
    except ValueError:
        return None


def _attributes(value: object) -> Iterator[tuple[str, Any]]:
    """An object's own attributes, with a module's tensors under their short names, and those of its classes."""
    for name, part in getattr(value, "__dict__", {}).items():
        if name in ("_parameters", "_buffers", "_modules"):
            yield from part.items()
        elif name != "_calls":  # a victim's own count of the calls without draws
            yield name, part
    for kind in type(value).__mro__:
        if kind.__module__.partition(".")[0] in _FOREIGN:
            continue
        for name, part in vars(kind).items():
            is_plain = not name.startswith("__") and not hasattr(part, "__get__")
            if is_plain and not isinstance(part, type):
                yield name, part
