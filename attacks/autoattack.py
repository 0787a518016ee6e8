"""AutoAttack: the field's own package, unchanged, in a process of its own."""

from __future__ import annotations

import logging
import warnings
from dataclasses import dataclass

import pyautoattack
import torch
from torch import Tensor, nn

from benchmark.attack import Attack
from benchmark.errors import BenchError
from benchmark.isolation import call_alone
from benchmark.pieces import InPieces
from benchmark.randomness import Draws
from benchmark.target import Target
from benchmark.threat import Norm, Threat
from benchmark.victim import GradientMode, Victim

_CLASSES_NEEDED = {"standard": 4, "plus": 4, "rand": 3}
"""Targeted DLR needs 4, DLR 3."""
_NORMS = {Norm.LINF: "Linf", Norm.L2: "L2"}
_TARGETS = 9
_OURS = "does not have a deterministic implementation"
"""What torch says of a GPU's kernel, because the harness asked for deterministic ones."""


class AutoAttack(Attack):
    """pyautoattack 0.2.0 (Croce and Hein, "Reliable evaluation of adversarial robustness", ICML 2020).

    It sees the victim by the target's gradient mode. Its checks count in module globals and it reseeds torch's
    global generator for every batch, so it runs in a process of its own. It judges a stochastic victim by the
    last draw alone, and gives back the clean image where it thinks that it failed. Its warnings become the
    target's. It always runs in float32. Its batch is part of its result, so that where memory runs out not the
    batch is cut, but the passes through the victim (`benchmark.pieces`); what is computed again for that is not
    counted.

    Args:
        version: `auto` (`standard` for a deterministic victim, `rand` for a stochastic one), or one of
            `standard`, `plus` and `rand`.
    """

    name = "autoattack"
    min_classes = 3
    per_image = False
    mixes = False
    summary = "pyautoattack, unchanged, in its own process (Croce and Hein 2020)"

    def __init__(self, *, version: str = "auto") -> None:
        self.version = version

    def perturb(
        self, target: Target, x: Tensor, y: Tensor, *, threat: Threat, draws: Draws
    ) -> Tensor:
        """One image for each, `(b, c, h, w)`.

        Raises:
            BenchError: There is no such version, it needs more classes, or the victim broke its contract.
            RuntimeError: Its process died.
        """
        version = self.version
        if version == "auto":
            version = "rand" if target.victim.stochastic else "standard"
        if version not in _CLASSES_NEEDED:
            raise BenchError(
                f"attack {self.name!r} has the versions auto, {', '.join(_CLASSES_NEEDED)}; got {version!r}"
            )
        if target.classes < _CLASSES_NEEDED[version]:
            raise BenchError(
                f"attack {self.name!r}, version {version!r}, needs at least "
                f"{_CLASSES_NEEDED[version]} classes; this task has {target.classes}: leave it out"
            )
        order = _Order(
            victim=target.victim,
            mode=target.mode,
            classes=target.classes,
            x=x,
            y=y,
            threat=threat,
            version=version,
            batch_size=min(target.batch_size, len(x)),
            rows=target.room.rows,
            seed=int(draws.at("autoattack").words(1).sum()) % 2**31,
        )
        report = call_alone(_evaluate, order)
        if report.rows < order.rows:
            target.room.halve(2 * report.rows)
        target.forwards += report.forwards
        target.backwards += report.backwards
        target.warnings.extend(report.warnings)
        target.mark(report.correct)
        return report.x_adv


@dataclass(frozen=True, slots=True, kw_only=True)
class _Order:
    """One evaluation: a victim with its gradient mode, images `(b, c, h, w)` and labels `(b,)`.

    `batch_size` is AutoAttack's, `rows` what may pass through the victim at once.
    """

    victim: Victim
    mode: GradientMode
    classes: int
    x: Tensor
    y: Tensor
    threat: Threat
    version: str
    batch_size: int
    rows: int
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Report:
    """What came of it: images, rows that fitted, passes in images, the share left, upstream's own warnings."""

    x_adv: Tensor
    rows: int
    forwards: int
    backwards: int
    correct: float
    warnings: list[str]


class _Counted(nn.Module):
    """A victim as pyautoattack calls it: fresh draws for each call, and every pass counted.

    pyautoattack works in float32; the victim sees its own dtype.
    """

    def __init__(self, order: _Order) -> None:
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

        def row_logits(part: Tensor, rows: Tensor) -> Tensor:
            return order.victim.logits(part, draws=draws.take(rows), mode=order.mode)

        return self.pieces(x.to(order.x.dtype), row_logits).float()

    def _count(self, rows: int) -> None:
        self.backwards += rows


class _Listener(logging.Handler):
    """Keeps the text of every warning."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keeps one."""
        self.messages.append(record.getMessage())


def _evaluate(order: _Order) -> _Report:
    """What AutoAttack's own process does."""
    victim, listener = _Counted(order), _Listener()
    logger = logging.getLogger("auto-attack")
    logger.addHandler(listener)
    logger.propagate = False
    upstream = pyautoattack.AutoAttack(
        victim,
        norm=_NORMS[order.threat.norm],
        eps=order.threat.eps,
        version=order.version,
        device=order.x.device,
        seed=order.seed,
    )
    upstream.verbose = False
    targets = min(_TARGETS, order.classes - 1)
    upstream.apgd_targeted.n_target_classes = targets
    upstream.fab.n_target_classes = targets
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        x_adv, y_adv = upstream.run_standard_evaluation(
            order.x.float(), order.y, batch_size=order.batch_size
        )
    said = [*listener.messages, *(str(w.message) for w in caught)]
    return _Report(
        x_adv=x_adv.to(order.x.dtype),
        rows=victim.pieces.room.rows,
        forwards=victim.forwards,
        backwards=victim.backwards,
        correct=float((y_adv == order.y).double().mean()),
        warnings=list(dict.fromkeys(text for text in said if _OURS not in text)),
    )
