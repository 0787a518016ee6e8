"""Adam on a batch from which images leave: moments of gradients, for each image its own."""

from __future__ import annotations

import torch
from torch import Tensor

_BETA1, _BETA2 = 0.9, 0.999
_TINY = 1e-8


class Adam:
    """The moments of Adam (Kingma and Ba, ICLR 2015, algorithm 1), for all images of a batch.

    Args:
        like: What is changed, `(b, ...)`.
    """

    def __init__(self, like: Tensor) -> None:
        self._first, self._second = torch.zeros_like(like), torch.zeros_like(like)
        self._step = 0

    def moments(self, which: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """Takes the gradients of a step in, `(a, ...)`, of the images at positions `(a,)`.

        Returns:
            Their mean, and the root of their mean square, which is never 0: a step is the one over the other.
        """
        self._step += 1
        first = _BETA1 * self._first[which] + (1 - _BETA1) * gradient
        second = _BETA2 * self._second[which] + (1 - _BETA2) * gradient.square()
        self._first[which], self._second[which] = first, second
        root = (second / (1 - _BETA2**self._step)).sqrt() + _TINY
        return first / (1 - _BETA1**self._step), root
