"""AdvAE's losses between the logits of purified pixels and pixels in [0, 1]: what the purifier changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor
from torch.nn import functional

from benchmark.registry import unknown

_TINY = 1e-6
"""Keeps logarithms, and the entropy's gradient, finite at pixels of 0 and 1."""


def cross_entropy(logits: Tensor, x: Tensor) -> Tensor:
    """The mean sigmoid cross-entropy of a pixel, `(b,)` (Li et al. 2019, Eq. 7: D(AE(x), x)).

    Args:
        logits: Of purified pixels, `(b, c, h, w)`.
        x: Pixels `(b, c, h, w)` in [0, 1].
    """
    loss = functional.binary_cross_entropy_with_logits(logits, x, reduction="none")
    return loss.flatten(1).mean(1)


def entropy(x: Tensor) -> Tensor:
    """The mean entropy of a pixel in [0, 1] taken as a probability, `(b,)`: the least that D(., x) can be."""
    inside = x.clamp(_TINY, 1 - _TINY)
    return -(x * inside.log() + (1 - x) * (1 - inside).log()).flatten(1).mean(1)


def divergence(logits: Tensor, x: Tensor) -> Tensor:
    """`cross_entropy` minus `entropy`, `(b,)`: 0 where the purified pixels are the given ones."""
    return cross_entropy(logits, x) - entropy(x)


AUXILIARY: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "divergence": divergence,
    "cross-entropy": cross_entropy,
}


def auxiliary_for(name: str) -> Callable[[Tensor, Tensor], Tensor]:
    """The auxiliary loss of a name.

    Raises:
        BenchError: Nothing has that name.
    """
    if name not in AUXILIARY:
        raise unknown("auxiliary loss of advae", name, AUXILIARY)
    return AUXILIARY[name]
