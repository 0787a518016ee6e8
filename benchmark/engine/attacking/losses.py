"""Losses of attacks: one number an image, to be raised by the attacker."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from torch import Tensor
from torch.nn import functional

from benchmark.errors import BenchError

Loss = Callable[[Tensor, Tensor], Tensor]
"""`(logits (b, k), labels (b,)) -> loss (b,)`, to be raised."""

_TINY = 1e-12
"""Keeps DLR's denominator off zero; the value of Croce and Hein's own code."""


def cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """Cross-entropy of logits `(b, k)` with true labels `(b,)` (Goodfellow et al., ICLR 2015, section 4)."""
    return functional.cross_entropy(logits, y, reduction="none")


def margin(logits: Tensor, y: Tensor) -> Tensor:
    """The greatest other logit minus the true one, `(b,)`: above 0 where the image is misclassified.

    (Carlini and Wagner, "Towards evaluating the robustness of neural networks", S&P 2017, section V.A, f6.)
    """
    true = logits.gather(1, y[:, None]).squeeze(1)
    others = logits.scatter(1, y[:, None], float("-inf"))
    return others.amax(1) - true


def probability_margin(logits: Tensor, y: Tensor) -> Tensor:
    """The greatest other class's probability minus the true one's, in [-1, 1], `(b,)`; above 0 as `margin` is.

    (The probability margin loss of Xie et al., "Towards million-scale adversarial robustness evaluation with
    stronger individual attacks", arXiv 2411.15210, L_pm.) It is flat at both ends: where the true logit is some
    100 ahead (float32) every gradient is 0, as cross-entropy's is where it is behind. It is summed from the
    others' probabilities (p_max + sum of others - 1), so that up to there rounding takes no gradient.
    """
    others = logits.softmax(1).scatter(1, y[:, None], 0.0)
    return others.amax(1) + others.sum(1) - 1.0


def capped_margin(logits: Tensor, y: Tensor, *, cap: float) -> Tensor:
    """The margin, no higher than `cap` in logit units, `(b,)`: what is confidently wrong is pushed no further.

    (Carlini and Wagner, S&P 2017, section V.A: their kappa.)
    """
    return margin(logits, y).clamp_max(cap)


def dlr(logits: Tensor, y: Tensor) -> Tensor:
    """The difference of logits ratio, `(b,)`; needs 3 classes (Croce and Hein, ICML 2020, equation 6)."""
    order, ranks = logits.sort(1)
    true = logits.gather(1, y[:, None]).squeeze(1)
    rival = torch.where(ranks[:, -1] == y, order[:, -2], order[:, -1])
    return -(true - rival) / (order[:, -1] - order[:, -3] + _TINY)


def targeted_dlr(logits: Tensor, y: Tensor, targets: Tensor) -> Tensor:
    """DLR towards target classes `(b,)`, `(b,)`; needs 4 classes (Croce and Hein, ICML 2020, equation 7)."""
    order, _ = logits.sort(1)
    true = logits.gather(1, y[:, None]).squeeze(1)
    goal = logits.gather(1, targets[:, None]).squeeze(1)
    scale = order[:, -1] - 0.5 * (order[:, -3] + order[:, -4]) + _TINY
    return -(true - goal) / scale


LOSSES: Mapping[str, Loss] = MappingProxyType(
    {"ce": cross_entropy, "margin": margin, "dlr": dlr, "pm": probability_margin}
)
"""Untargeted losses by the name under which an attack takes them."""

CLASSES_NEEDED: Mapping[str, int] = MappingProxyType(
    {"ce": 2, "margin": 2, "pm": 2, "dlr": 3, "dlr-targeted": 4}
)
"""The fewest classes with which each loss is defined."""


def classes_for(loss: str) -> int:
    """The fewest classes with which a loss is defined; 2 for one that nobody knows, which is refused later."""
    return CLASSES_NEEDED.get(loss, 2)


def refuse_loss(attack: str, loss: str, *, known: tuple[str, ...], classes: int) -> None:
    """Refuses a loss that an attack does not know, or that needs more classes than there are.

    Raises:
        BenchError: One of the two.
    """
    if loss not in known:
        raise BenchError(
            f"attack {attack!r} knows the losses {', '.join(known)}; got {loss!r}: choose one of them"
        )
    if classes < CLASSES_NEEDED[loss]:
        raise BenchError(
            f"loss {loss!r} of attack {attack!r} needs at least {CLASSES_NEEDED[loss]} classes; this "
            f"task has {classes}: choose loss 'margin' or 'ce'"
        )
