"""Targets: what an attack may ask of its victim, counted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import KW_ONLY, dataclass, replace

import torch
from torch import Tensor

from benchmark.compute.memory import BatchLimit
from benchmark.engine.randomness import Draws
from benchmark.engine.victims.victim import GradientMode, Victim

Objective = Callable[[Tensor, Tensor, Draws], tuple[Tensor, Tensor]]
"""`(x, which, draws) -> (loss, logits)`: rows of images `(r, c, h, w)` and the position `(r,)` of each row's
image in the attacked batch, to the loss to be raised `(r,)` and the logits `(r, k)`."""


@dataclass(frozen=True, slots=True)
class Ascent:
    """What one look at an objective gives, for b images."""

    loss: Tensor
    """Mean loss over EOT rows, `(b,)`."""
    gradient: Tensor
    """Gradient of that mean, `(b, c, h, w)`."""
    logits: Tensor
    """Mean logits over EOT rows, `(b, k)`."""


@dataclass(eq=False, repr=False)
class Target:
    """A victim as an attack sees it: logits and gradients at given draws, with every pass counted.

    Args:
        victim: What is attacked.
        classes: Number of classes.
        mode: The gradient mode for the victim.
        eot: Draws over which each gradient is averaged; 1 for a deterministic victim.
        batch_size: Rows in one forward pass at the most; it changes no result, only memory and time. Where
            memory runs out, `room` gets smaller, and this stays.
        sources: Images made by the jobs that this one names, `(b, m, c, h, w)`, for the whole batch.
        leaves_early: Whether an image that is already misclassified may leave the batch at once; only for a
            deterministic victim, and never where images are made for transfer.
        seeds: Images of the attacker's own, `(n, c, h, w)`; None where the attack asks for none.
    """

    victim: Victim
    _: KW_ONLY
    classes: int
    mode: GradientMode = GradientMode.EXACT
    eot: int = 1
    batch_size: int = 256
    sources: Tensor | None = None
    leaves_early: bool = False
    seeds: Tensor | None = None

    def __post_init__(self) -> None:
        self.room = BatchLimit(self.batch_size)
        self.leaves_early = self.leaves_early and not self.victim.stochastic
        self.forwards = self.backwards = self.gradients = self.zero_gradients = 0
        self.followed = 0
        """Rows whose gradient led back through the whole victim."""
        self.trace: list[float] = []
        self.warnings: list[str] = []

    @property
    def is_random(self) -> bool:
        """Whether what the victim answers is a mean over draws, or may be another one at the next."""
        return self.victim.stochastic or self.eot > 1

    def logits(self, x: Tensor, *, draws: Draws) -> Tensor:
        """Logits `(b, k)` of the victim, differentiable where gradients are enabled; one draw a row."""
        self.forwards += len(x)
        self.followed += len(x) if torch.is_grad_enabled() else 0
        return self.victim.logits(x, draws=draws, mode=self.mode)

    def bare_logits(self, x: Tensor) -> Tensor:
        """Mean logits `(b, k)` of the bare classifiers inside the victim: what an oblivious attacker sees."""
        self.forwards += len(x)
        return self.victim.bare_logits(x)

    def auxiliary_loss(self, x: Tensor, *, draws: Draws) -> Tensor:
        """The purifiers' auxiliary loss `(b,)`, differentiable where gradients are enabled."""
        return self.victim.auxiliary_loss(x, draws=draws, mode=self.mode)

    def predict(self, x: Tensor, *, draws: Draws) -> Tensor:
        """Logits `(b, k)` without gradients, cut into batches."""
        order = draws.order()

        def one_pass(part: Tensor) -> Tensor:
            rows = order[part]
            with self._counted_if_whole(), torch.no_grad():
                return self.logits(x[rows], draws=draws.take(rows))

        found = torch.cat([found for _, found in self.room.passes(len(x), one_pass, x.device)])
        return found[order.argsort()]

    def mean_logits(self, x: Tensor, *, draws: Draws) -> Tensor:
        """Logits `(b, k)` without gradients, the mean over EOT rows."""
        rows = draws.repeat(self.eot)
        logits = self.predict(x.repeat_interleave(self.eot, 0), draws=rows)
        return logits.view(len(x), self.eot, self.classes).mean(1)

    def rivals(self, x: Tensor, y: Tensor, n: int, *, draws: Draws) -> Tensor:
        """The classes of the n highest mean logits of images but the true one, `(b, n)`."""
        logits = self.mean_logits(x, draws=draws.at("rivals"))
        return logits.scatter(1, y[:, None], float("-inf")).topk(n, dim=1).indices

    def ascend(self, x: Tensor, objective: Objective, *, draws: Draws) -> Ascent:
        """The mean of an objective over `eot` draws, with its gradient: all draws in one batch, cut to size.

        Args:
            x: Images `(b, c, h, w)`.
            objective: The loss to be raised.
            draws: Of the b images; repeated here, once for every EOT row.

        Returns:
            Loss, gradient and logits of the b images, averaged over their rows, without graph.
        """
        b, n = len(x), self.eot
        rows = draws.repeat(n) if n > 1 else draws
        order = rows.order()
        rows, which = rows.take(order), torch.div(order, n, rounding_mode="floor")
        loss = x.new_zeros(b)
        gradient = torch.zeros_like(x)
        logits = x.new_zeros(b, self.classes)

        def one_pass(part: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            at = which[part]
            with self._counted_if_whole(), torch.enable_grad():
                leaf = x[at].detach().requires_grad_()
                row_loss, row_logits = objective(leaf, at, rows.take(part))
                (row_gradient,) = torch.autograd.grad(row_loss.sum(), leaf)
            return row_loss.detach() / n, row_gradient / n, row_logits.detach() / n

        for part, found in self.room.passes(b * n, one_pass, x.device):
            self.backwards += len(part)
            for total, row_values in zip((loss, gradient, logits), found, strict=True):
                total.index_add_(0, which[part], row_values)
        self.gradients += b
        self.zero_gradients += int((gradient.flatten(1).abs().amax(1) == 0).sum())
        return Ascent(loss, gradient, logits)

    def mark(self, correct: float) -> None:
        """Adds a step to the convergence trace: the share of the attacked images still classified rightly."""
        self.trace.append(correct)

    def within(self, victim: Victim, *, leaves_early: bool = False) -> Target:
        """A target for an attack inside this one: one draw a gradient, and counts of its own."""
        inner = replace(
            self, victim=victim, eot=1, sources=None, seeds=None, leaves_early=leaves_early
        )
        inner.room = self.room
        return inner

    def count(self, inner: Target) -> None:
        """Adds what another one counted."""
        for name in ("forwards", "backwards", "gradients", "zero_gradients", "followed"):
            setattr(self, name, getattr(self, name) + getattr(inner, name))

    @contextmanager
    def _counted_if_whole(self) -> Iterator[None]:
        """What a pass counts is taken back where it breaks off."""
        before = self.forwards
        try:
            yield
        except BaseException:
            self.forwards = before
            raise
