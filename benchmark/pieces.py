"""A module's batch in pieces: for attack libraries whose own batch must stay whole while memory runs out."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from benchmark.memory import Room

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
        on_backward: Told of the rows of each finished backward pass.
    """

    def __init__(self, rows: int, *, on_backward: Callable[[int], None]) -> None:
        self.room = Room(rows)
        self.on_backward = on_backward
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


class _Call:
    """One batch on its way through, and its graph while it is kept."""

    def __init__(self, owner: InPieces, x: Tensor, row_logits: RowLogits) -> None:
        self.owner = owner
        self.x = x
        self.row_logits = row_logits
        self.graph: tuple[Tensor, Tensor] | None = None
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

        return torch.cat([found for _, found in self._passes(one_pass)])

    def backward(self, gradient: Tensor) -> Tensor:
        """The gradient `(b, c, h, w)` for that of the logits, `(b, k)`."""

        def one_pass(rows: Tensor) -> Tensor:
            graph, whole = self.graph, len(rows) == len(self.x)
            self.graph = None  # a pass that breaks off leaves none behind
            leaf, logits = graph if graph and whole else self._with_graph(rows)
            (found,) = torch.autograd.grad(logits, leaf, gradient[rows], retain_graph=whole)
            self.graph = (leaf, logits) if whole and self.owner._last is self else None
            return found

        found = torch.cat([found for _, found in self._passes(one_pass)])
        self.owner.on_backward(len(found))
        return found

    def _with_graph(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            leaf = self.x[rows].requires_grad_()
            return leaf, self.row_logits(leaf, rows)

    def _passes(self, one_pass: Callable[[Tensor], Tensor]) -> list[tuple[Tensor, Tensor]]:
        return list(self.owner.room.passes(len(self.x), one_pass, self.x.device))


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
