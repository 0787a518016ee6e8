"""Twins: tensors of the same values with a graph, by the memory that the real ones lie in."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

Geometry = tuple[torch.dtype, tuple[int, ...], tuple[int, ...], int]
"""How a tensor lies in its memory: dtype, shape, stride and offset."""
LIKENESS = 0.5
"""Correlation with the images from which on a tensor of their size is taken for made of them."""


MOVED = 1e-3
"""How far a twin's values may lie from the real ones, relative to the largest, before they are others."""


def address(tensor: Tensor) -> int:
    """Where a tensor's memory begins."""
    return tensor.untyped_storage().data_ptr()


class Finite(torch.autograd.Function):
    """The images; a gradient that is not finite, as slopes at the end of a domain are, is none."""

    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:  # noqa: ARG004
        """The same."""
        return x.view_as(x)

    @staticmethod
    def backward(ctx: object, *gradients: Tensor) -> Tensor:  # noqa: ARG004
        """Its finite part."""
        return gradients[0].nan_to_num(0.0, 0.0, 0.0)


def geometry(tensor: Tensor) -> Geometry:
    """How a tensor lies."""
    return tensor.dtype, tuple(tensor.shape), tensor.stride(), int(tensor.storage_offset())


def values_of(real: Tensor, dtype: torch.dtype) -> Tensor:
    """A constant of a tensor's values, in floating point."""
    found = real.detach().dequantize() if real.is_quantized else real.detach().clone()
    return found if found.is_floating_point() or found.is_complex() else found.to(dtype)


@dataclass(slots=True)
class Memory:
    """The twins of what lies in one storage, which is held so that no other gets its address."""

    storage: torch.UntypedStorage
    whole: Geometry
    """Of the twin from which all others can be cut."""
    twins: dict[Geometry, Tensor] = field(default_factory=dict)
    choice: Tensor | None = None
    """Of indices that were chosen (`argmin`): the soft weights of what there was to choose from, `(n, k)`."""

    def flat(self, real: Tensor) -> Tensor:
        """The twin of all values as they lie there, `(n,)`."""
        twin, count = self.twins[self.whole], self.storage.nbytes() // self.whole[0].itemsize
        if twin.numel() == count and self.whole[2] == _contiguous(self.whole[1]):
            return twin.reshape(-1)
        every = values_of(real.as_strided((count,), (1,), 0), twin.dtype)
        return every.index_put((places(self.whole, every),), twin.reshape(-1))


def _contiguous(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(math.prod(shape[i + 1 :]) for i in range(len(shape)))


def places(at: Geometry, flat: Tensor) -> Tensor:
    """Where in a memory the values of a tensor lie, in its own order."""
    every = torch.arange(len(flat), device=flat.device)
    return every.as_strided(at[1], at[2], at[3]).reshape(-1)


def alike(images: Tensor, tensor: Tensor) -> Tensor | None:
    """Images `(b, c, h, w)`, one of them, or a channel, in a tensor's shape and scale; None if it is unlike."""
    for first in (images, *images, *images.flatten(0, 1)):
        if first.numel() != tensor.numel():
            continue
        for place in (first, first.movedim(-3, -1)) if first.ndim > 2 else (first,):
            source = place.reshape(tensor.shape)
            a = source.detach().double() - source.detach().double().mean()
            b = tensor.double() - tensor.double().mean()
            scale = float((a * b).sum() / (a * a).sum().clamp_min(1e-12))
            if float((a * b).sum()) > LIKENESS * float(a.norm() * b.norm()) > 0:
                found: Tensor = scale * source
                return found
    return None


class Twins:
    """The twins of a call's tensors, by the memory that these lie in.

    Args:
        x: The images with their graph, `(b, c, h, w)`.
    """

    def __init__(self, x: Tensor) -> None:
        self.broken: list[str] = []
        """Operations at which an edge was taken for the identity."""
        self.seen: dict[int, torch.UntypedStorage] = {}
        """What the call made in sight, by its address; it is held, so that no other gets that."""
        self._memories: dict[int, Memory] = {}
        self.x = self.latest = Finite.apply(x)
        self.keep(x.detach(), self.x)

    def twin(self, tensor: Tensor) -> Tensor | None:
        """The twin of a tensor that hangs on the images; None for any other."""
        memory = self.memory(tensor)
        if memory is None:
            return None
        at = geometry(tensor)
        if at not in memory.twins:
            if at[0] is not memory.whole[0]:
                return None
            flat = memory.flat(tensor)
            memory.twins[at] = flat[places(at, flat)].view(at[1])
        return memory.twins[at]

    def choice(self, tensor: Tensor) -> Tensor | None:
        """The soft weights `(n, k)` of n indices that were chosen; None for any others."""
        memory = self.memory(tensor)
        is_whole = memory is not None and tensor.is_contiguous() and tensor.storage_offset() == 0
        return memory.choice if memory is not None and is_whole else None

    def memory(self, tensor: Tensor) -> Memory | None:
        """What lies where a tensor lies; None where nothing there hangs on the images."""
        if tensor.layout is not torch.strided or not tensor.numel():
            return None
        return self._memories.get(tensor.untyped_storage().data_ptr())

    def copied_whole(self, target: Tensor, source: Tensor) -> bool:
        """Whether a memory was copied byte by byte (`copy.deepcopy`); the copy then has its twins."""
        memory = self.memory(source)
        storage = target.untyped_storage()
        if (
            memory is None
            or {source.dtype, target.dtype} != {torch.uint8}
            or memory.whole[0] is torch.uint8
        ):
            return False
        if storage.nbytes() != memory.storage.nbytes():
            return False
        self._memories[storage.data_ptr()] = replace(
            memory, storage=storage, twins=dict(memory.twins)
        )
        return True

    def keep(self, target: Tensor, twin: Tensor, *, is_write: bool = False) -> None:
        """Notes the twin of what lies in a tensor's memory now."""
        storage = target.untyped_storage()
        memory, at = self._memories.get(storage.data_ptr()), geometry(target)
        if memory is None:
            count = storage.nbytes() // target.dtype.itemsize
            memory = self._memories[storage.data_ptr()] = Memory(storage, at, {at: twin})
            if target.numel() != count:  # a part of a memory that was empty of twins
                every = (target.dtype, (count,), (1,), 0)
                memory.twins = {every: memory.flat(target), at: twin}
                memory.whole = every
        elif is_write and at != memory.whole and at[0] is memory.whole[0]:
            flat = memory.flat(target)
            flat = flat.index_put((places(at, flat),), twin.reshape(-1))
            memory.whole = (at[0], tuple(flat.shape), (1,), 0)
            memory.twins, memory.choice = {memory.whole: flat, at: twin}, None
        elif is_write:
            if at[0] is not memory.whole[0]:
                self.broken.append("a write through another type")
            memory.twins, memory.whole, memory.choice = {at: twin}, at, None
        else:
            memory.twins[at] = twin
        if twin.shape == self.x.shape and twin.dtype is self.x.dtype:
            self.latest = twin

    def see(self, made: Any) -> None:
        """Notes what was computed in sight, whether or not it hangs on the images."""
        for leaf in tree_leaves(made):
            if isinstance(leaf, Tensor) and leaf.layout is torch.strided and leaf.numel():
                storage = leaf.untyped_storage()
                self.seen.setdefault(storage.data_ptr(), storage)
