"""What AutoAttack's own process does: runs pyautoattack unchanged on a counted victim."""

from __future__ import annotations

import logging
import warnings
from dataclasses import dataclass

import pyautoattack
import torch
from torch import Tensor, nn

from benchmark.randomness import Draws
from benchmark.threat import Norm, Threat
from benchmark.victim import GradientMode, Victim

UPSTREAM_NORMS = {Norm.LINF: "Linf", Norm.L2: "L2"}
UPSTREAM_TARGETS = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One evaluation: a victim with its gradient mode, images `(b, c, h, w)` and labels `(b,)`."""

    victim: Victim
    mode: GradientMode
    classes: int
    x: Tensor
    y: Tensor
    threat: Threat
    version: str
    batch_size: int
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What came of it: images, passes counted in images, the share left, and upstream's own warnings."""

    x_adv: Tensor
    forwards: int
    backwards: int
    correct: float
    warnings: list[str]


class Counted(nn.Module):
    """A victim as pyautoattack calls it: fresh draws for each call, and every pass counted.

    pyautoattack works in float32; the victim sees its own dtype.
    """

    def __init__(self, order: Order) -> None:
        super().__init__()
        self.order = order
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
        logits = order.victim.logits(x.to(order.x.dtype), draws=draws, mode=order.mode)
        if logits.requires_grad:
            logits.register_hook(self._count)  # type: ignore[no-untyped-call]
        return logits.float()

    def _count(self, gradient: Tensor) -> None:
        self.backwards += len(gradient)


class _Listener(logging.Handler):
    """Keeps the text of every warning."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keeps one."""
        self.messages.append(record.getMessage())


def evaluate(order: Order) -> Report:
    """Runs the evaluation."""
    victim, listener = Counted(order), _Listener()
    logger = logging.getLogger("auto-attack")
    logger.addHandler(listener)
    logger.propagate = False
    upstream = pyautoattack.AutoAttack(
        victim,
        norm=UPSTREAM_NORMS[order.threat.norm],
        eps=order.threat.eps,
        version=order.version,
        device=order.x.device,
        seed=order.seed,
    )
    upstream.verbose = False
    targets = min(UPSTREAM_TARGETS, order.classes - 1)
    upstream.apgd_targeted.n_target_classes = targets
    upstream.fab.n_target_classes = targets
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        x_adv, y_adv = upstream.run_standard_evaluation(
            order.x.float(), order.y, batch_size=order.batch_size
        )
    return Report(
        x_adv=x_adv.to(order.x.dtype),
        forwards=victim.forwards,
        backwards=victim.backwards,
        correct=float((y_adv == order.y).double().mean()),
        warnings=list(dict.fromkeys([*listener.messages, *(str(w.message) for w in caught)])),
    )
