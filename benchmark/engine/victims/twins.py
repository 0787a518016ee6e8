"""Twins: tensors of the same values with a graph, by the memory that the real ones lie in."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

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
