"""Outside attack libraries: a victim as they call one, every pass counted, their batch kept whole."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor, nn

from benchmark.compute.memory import BatchLimit
from benchmark.engine.attacking.attack import Passes
from benchmark.engine.attacking.target import Target
from benchmark.engine.randomness import Draws
from benchmark.engine.threat import Norm, Threat

RowLogits = Callable[[Tensor, Tensor], Tensor]
"""`(x (r, c, h, w), rows (r,)) -> logits (r, k)`: each row's logits hang on that row and its place alone."""


class InPieces:
    """Logits of whole batches, computed in as many passes as memory asks for.

    While a batch fits, its graph is kept for the backward pass as ever. Where it does not, forward or backward,
    the forward pass keeps nothing, and the backward pass computes each piece again: the same logits and
    gradients but for rounding. Only the graph of the last call is kept; a backward pass through an older one
    computes it again.

    Args:
        rows: At the most in one pass.
    """

    def __init__(self, rows: int) -> None:
        self.room = BatchLimit(rows)
        self.backwards = 0
        """Rows of all finished backward passes."""
        self._last: _Call | None = None

    def __call__(self, x: Tensor, row_logits: RowLogits) -> Tensor:
        """Logits `(b, k)` of images `(b, c, h, w)`, differentiable in `x` where gradients are enabled."""
        if self._last is not None:
            self._last.graph = None
        call = _Call(self, x.detach(), row_logits)
        if not (torch.is_grad_enabled() and x.requires_grad):
            return call.forward(keeps_graph=False)
        self._last = call
        out: Tensor = _Pass.apply(x, call)
        return out


@dataclass(slots=True, eq=False)
class _Call:
    """One batch on its way through, and its graph while it is kept."""

    owner: InPieces
    x: Tensor
    row_logits: RowLogits
    graph: tuple[Tensor, Tensor] | None = None
    """The batch as a leaf, and its logits."""

    def forward(self, *, keeps_graph: bool) -> Tensor:
        """Logits `(b, k)` without a graph of the caller's."""

        def one_pass(rows: Tensor) -> Tensor:
            if not keeps_graph or len(rows) < len(self.x):
                with torch.no_grad():
                    return self.row_logits(self.x[rows], rows)
            leaf, logits = self._with_graph(rows)
            self.graph = leaf, logits
            return logits.detach()

        return self._over_rows(one_pass)

    def backward(self, gradient: Tensor) -> Tensor:
        """The gradient `(b, c, h, w)` for that of the logits, `(b, k)`."""

        def one_pass(rows: Tensor) -> Tensor:
            graph, whole = self.graph, len(rows) == len(self.x)
            self.graph = None  # a pass that breaks off leaves none behind
            leaf, logits = graph if graph and whole else self._with_graph(rows)
            (found,) = torch.autograd.grad(logits, leaf, gradient[rows], retain_graph=whole)
            self.graph = (leaf, logits) if whole and self.owner._last is self else None
            return found

        found = self._over_rows(one_pass)
        self.owner.backwards += len(found)
        return found

    def _with_graph(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            leaf = self.x[rows].requires_grad_()
            return leaf, self.row_logits(leaf, rows)

    def _over_rows(self, one_pass: Callable[[Tensor], Tensor]) -> Tensor:
        parts = self.owner.room.passes(len(self.x), one_pass, self.x.device)
        return torch.cat([found for _, found in parts])


class _Pass(torch.autograd.Function):
    """A call's two halves as autograd knows them."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, x: Tensor, call: _Call) -> Tensor:
        """The call's logits."""
        del x
        ctx.call = call  # type: ignore[attr-defined]
        return call.forward(keeps_graph=True)

    @staticmethod
    def backward(
        ctx: torch.autograd.function.FunctionCtx, *gradients: Tensor
    ) -> tuple[Tensor, None]:
        """The call's gradient."""
        call: _Call = ctx.call  # type: ignore[attr-defined]
        return call.backward(gradients[0]), None


NORMS: Mapping[str, str] = MappingProxyType({Norm.LINF: "Linf", Norm.L2: "L2"})
"""What pyautoattack calls the norms."""
TARGETS = 9
"""Target classes of AutoAttack's targeted attacks, where there are so many others."""


@dataclass(frozen=True, slots=True)
class AutoAttackCall:
    """One evaluation by outside code: of a target, images `(b, c, h, w)` and labels `(b,)`, from a seed."""

    target: Target
    x: Tensor
    y: Tensor
    threat: Threat
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AutoAttackReport:
    """What came of it: images, which of them are misclassified `(b,)`, passes in images, upstream's warnings.

    `rows` is how many there was memory for.
    """

    x_adv: Tensor
    fooled: Tensor
    rows: int
    forwards: int
    backwards: int
    warnings: tuple[str, ...] = ()

    def count_in(self, target: Target) -> None:
        """Has a target count what was asked, and know how many rows fit."""
        if self.rows < target.room.rows:
            target.room.halve(2 * self.rows)
        target.forwards += self.forwards
        target.backwards += self.backwards
        target.followed += self.backwards
        target.warnings.extend(self.warnings)


class CountedVictim(nn.Module):
    """A victim as pyautoattack calls it: fresh draws for each call, and every pass counted.

    pyautoattack works in float32; the victim sees its own dtype. Where memory runs out a batch passes in
    pieces, which pyautoattack does not notice; what is computed again for that is not counted.
    """

    def __init__(self, order: AutoAttackCall) -> None:
        super().__init__()
        self.order = order
        self.pieces = InPieces(order.target.room.rows)
        self.calls = 0
        self.forwards = 0

    def forward(self, x: Tensor) -> Tensor:
        """Logits `(b, k)`, float32."""
        order, target = self.order, self.order.target
        rows = torch.arange(len(x), device=x.device)
        draws = Draws.of(order.seed, rows, "autoattack", self.calls)
        self.calls += 1
        self.forwards += len(x)

        def row_logits(part: Tensor, at: Tensor) -> Tensor:
            return target.victim.logits(part, draws=draws.take(at), mode=target.mode)

        return self.pieces(x.to(order.x.dtype), row_logits).float()

    def report(
        self, x_adv: Tensor, fooled: Tensor, warnings: tuple[str, ...] = ()
    ) -> AutoAttackReport:
        """What came of the call, with what was counted here."""
        return AutoAttackReport(
            x_adv=x_adv.to(self.order.x.dtype),
            fooled=fooled,
            rows=self.pieces.room.rows,
            forwards=self.forwards,
            backwards=self.pieces.backwards,
            warnings=warnings,
        )


def passes_of_fab(*, steps: int, targets: int) -> Passes:
    """Targeted FAB of pyautoattack: for each target two predictions, the steps, and one more that judges.

    A step looks once with a gradient and once without.
    """
    return Passes(forwards=1 + targets * (3 + 2 * steps), backwards=targets * steps)


def passes_of_square(*, queries: int) -> Passes:
    """Square of pyautoattack: its queries, the start, and a prediction before and after."""
    return Passes(forwards=queries + 3, backwards=0)
