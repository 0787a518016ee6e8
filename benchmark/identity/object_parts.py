"""Parts of objects: what is a plain value, what a class keeps in slots, whose code a module is."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch

from benchmark.identity.module_places import Owner, file_of, owner_of


def tensor_bytes(tensor: torch.Tensor) -> bytes:
    """The bytes of a tensor's values, wherever it lies."""
    plain = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous()
    return plain.reshape(-1).view(torch.uint8).numpy().tobytes()


def is_users(module: str) -> bool:
    """Whether a module is neither Python's, nor this project's, nor an installed package's."""
    if module.partition(".")[0] in sys.stdlib_module_names and module != "__main__":
        return False
    file = file_of(module)
    return file is None or owner_of(file, module) is Owner.USER


def plain_bytes(value: object) -> bytes | None:
    """A number, a text or the like as bytes; None for all else."""
    if value is None or value is ... or type(value) in (bool, int, float, complex, str, bytes):
        text = hex(value) if type(value) is int else ascii(value)
        return f"{type(value).__name__} {text}".encode()
    if isinstance(value, np.generic) and not value.dtype.hasobject:
        return f"scalar {value.dtype.str} ".encode() + value.tobytes()
    return None


def slots_of(value: object) -> dict[str, object]:
    """What an object keeps in slots, by name."""
    names: Iterable[str] = (
        f"_{base.__name__.lstrip('_')}{name}" if name[:2] == "__" else name
        for base in type(value).__mro__
        for name in _listed(vars(base).get("__slots__", ()))
        if name not in ("__dict__", "__weakref__")
    )
    return {name: getattr(value, name) for name in names if hasattr(value, name)}


def _listed(slots: object) -> list[str]:
    return [slots] if isinstance(slots, str) else list(slots)  # type: ignore[call-overload]


def is_filled(cell: Any) -> bool:
    """Whether a closure's cell holds anything yet."""
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:
        return False
    return True
