"""Outside attack code: a victim as it calls one, with every pass counted, and what it complains about."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor, nn

from benchmark.attack import Passes
from benchmark.pieces import InPieces
from benchmark.randomness import Draws
from benchmark.threat import Norm, Threat
from benchmark.victim import GradientMode, Victim

NORMS: Mapping[str, str] = MappingProxyType({Norm.LINF: "Linf", Norm.L2: "L2"})
"""What pyautoattack calls the norms."""
TARGETS = 9
"""Target classes of AutoAttack's targeted attacks, where there are so many others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One evaluation by outside code: a victim with its gradient mode, images `(b, c, h, w)`, labels `(b,)`.

    `batch_size` is that code's, `rows` what may pass through the victim at once.
    """

    victim: Victim
    mode: GradientMode
    classes: int
    x: Tensor
    y: Tensor
    threat: Threat
    batch_size: int
    rows: int
    seed: int


class CountedVictim(nn.Module):
    """A victim as pyautoattack calls it: fresh draws for each call, and every pass counted.

    pyautoattack works in float32; the victim sees its own dtype. Where memory runs out a batch passes in
    pieces, which pyautoattack does not notice; what is computed again for that is not counted.
    """

    def __init__(self, order: Order) -> None:
        super().__init__()
        self.order = order
        self.pieces = InPieces(order.rows, on_backward=self._count)
        self.calls = 0
        self.forwards = 0
        self.backwards = 0

    def forward(self, x: Tensor) -> Tensor:
        """Logits `(b, k)`, float32."""
        order = self.order
        rows = torch.arange(len(x), device=x.device)
        draws = Draws.of(order.seed, rows, "autoattack", self.calls)
        self.calls += 1
        self.forwards += len(x)

        def row_logits(part: Tensor, at: Tensor) -> Tensor:
            return order.victim.logits(part, draws=draws.take(at), mode=order.mode)

        return self.pieces(x.to(order.x.dtype), row_logits).float()

    def _count(self, rows: int) -> None:
        self.backwards += rows

    @property
    def rows(self) -> int:
        """How many rows in one pass there was memory for."""
        return self.pieces.room.rows


class WarningListener(logging.Handler):
    """Keeps the text of every warning."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keeps one."""
        self.messages.append(record.getMessage())


def passes_of_fab(*, steps: int, targets: int) -> Passes:
    """Targeted FAB of pyautoattack: for each target two predictions, the steps, and one more that judges.

    A step looks once with a gradient and once without.
    """
    return Passes(forwards=1 + targets * (3 + 2 * steps), backwards=targets * steps)


def passes_of_square(*, queries: int) -> Passes:
    """Square of pyautoattack: its queries, the start, and a prediction before and after."""
    return Passes(forwards=queries + 3, backwards=0)
