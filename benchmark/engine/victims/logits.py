"""Logits out of whatever a network returns: a tensor, or a container that tells which they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from benchmark.errors import ContractBroken

NAME = "logits"


def logits_in(returned: Any) -> Tensor | None:
    """The logits, where what a network returned says that they are: None where it does not.

    A tensor is; of a mapping, a dataclass or a named tuple its `logits`; of a container with one tensor and
    nothing else, that one. Of a plain tuple of several nobody knows which.
    """
    if isinstance(returned, Tensor):
        return returned
    named = returned.get(NAME) if isinstance(returned, Mapping) else getattr(returned, NAME, None)
    if isinstance(named, Tensor):
        return named
    if isinstance(returned, Mapping | list | tuple) and len(returned) == 1:
        (only,) = returned.values() if isinstance(returned, Mapping) else returned
        return only if isinstance(only, Tensor) else None
    return None


def as_logits(returned: Any, x: Tensor, *, classes: int, what: str) -> Tensor:
    """Logits `(b, k)` of the dtype of `x`, as a network is to return them.

    Args:
        returned: What the network returned for `x`. Sizes of 1 behind the classes, and a batch of one image
            without its first dimension, mean the same logits.
        x: Images `(b, c, h, w)`.
        classes: k.
        what: What the message calls the network.

    Raises:
        ContractBroken: They are of another shape, or nobody knows which tensor they are.
    """
    logits, shape = logits_in(returned), (len(x), classes)
    if logits is None:
        raise ContractBroken(
            f"{what} returned {described(returned)}; expected logits {shape}, or a container with them as "
            f"{NAME!r}: let its forward() return the logits alone"
        )
    found = tuple(logits.shape)
    if found != shape:
        is_alike = found[:2] == shape and set(found[2:]) == {1}
        if not is_alike and (len(x), *found) != (1, *shape[1:]):
            raise ContractBroken(
                f"{what} returned logits of shape {found}; expected {shape}, for {classes} classes"
            )
        logits = logits.reshape(shape)
    return logits if logits.dtype == x.dtype else logits.to(x.dtype)


def described(returned: Any) -> str:
    """A returned value by its type, and its tensors by their shapes."""
    if isinstance(returned, Tensor):
        return f"a tensor {tuple(returned.shape)}"
    kind = f"a {type(returned).__name__}"
    if isinstance(returned, Mapping):
        parts = [f"{name!r}: {_shape(part)}" for name, part in returned.items()]
    elif isinstance(returned, list | tuple):
        parts = [_shape(part) for part in returned]
    else:
        return kind
    shown = ", ".join(parts[:5]) + (f" and {len(parts) - 5} more" if len(parts) > 5 else "")
    return f"{kind} of {shown}" if parts else f"an empty {type(returned).__name__}"


def _shape(part: Any) -> str:
    return str(tuple(part.shape)) if isinstance(part, Tensor) else type(part).__name__
