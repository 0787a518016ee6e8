"""The plain victim: purifiers in a row, then a frozen classifier."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import chain

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from benchmark.engine.randomness import Draws
from benchmark.engine.victims.classifier import Classifier
from benchmark.engine.victims.defense import Defense
from benchmark.engine.victims.recovered import recovered
from benchmark.engine.victims.victim import GradientMode, StraightThrough, Victim


class Purified(Victim):
    """Purifiers in a row (one, or a chain such as `atop+aid`), then a classifier.

    With `bpda` each stage is straight-through by itself, so that a stage's surrogate is taken at what the
    stage before it put out. Draws are named by stage, and tell a purifier nothing about who asks.

    Args:
        defenses: The purifiers, prepared, in the order in which an image passes them.
        classifier: The frozen classifier behind them.
        mode: The gradient mode of a plain call.
        is_checkpointed: Whether exact gradients keep only each stage's input and compute the rest again.
    """

    def __init__(
        self,
        defenses: Sequence[Defense],
        classifier: Classifier,
        *,
        mode: GradientMode = GradientMode.EXACT,
        is_checkpointed: bool = False,
    ) -> None:
        super().__init__(mode=mode)
        self.defenses = tuple(defenses)
        self.classifier = classifier
        self.is_checkpointed = is_checkpointed
        self.broken: tuple[str, ...] = ()
        """Where recovered gradients were the identity so far."""

    @property
    def stochastic(self) -> bool:
        """Whether any stage is."""
        return any(defense.stochastic for defense in self.defenses)

    @property
    def classifiers(self) -> list[Classifier]:
        """The one behind the purifiers."""
        return [self.classifier]

    def logits(self, x: Tensor, *, draws: Draws, mode: GradientMode) -> Tensor:
        """Logits `(b, k)` of the purified images."""
        return self.classifier(self.purify(x, draws=draws, mode=mode))  # type: ignore[no-any-return]

    def purify(self, x: Tensor, *, draws: Draws, mode: GradientMode) -> Tensor:
        """Purified images, of the shape and range of `x`, differentiable as the mode says."""
        for out in self.stages(x, draws=draws, mode=mode):
            x = out
        return x

    def stages(self, x: Tensor, *, draws: Draws, mode: GradientMode) -> Iterator[Tensor]:
        """What each stage puts out, one after the other, the last as `purify` gives it."""
        for i, defense in enumerate(self.defenses):
            x = self._stage(defense, x, draws.at("stage", i).opaque(), mode)
            yield x

    def auxiliary_loss(self, x: Tensor, *, draws: Draws, mode: GradientMode) -> Tensor:
        """The sum over the stages, each at its own input, `(b,)`."""
        seen = chain((x,), self.stages(x, draws=draws, mode=mode))
        losses = (
            defense.auxiliary_loss(x_in, draws=draws.at("stage", i).opaque())
            for i, (defense, x_in) in enumerate(zip(self.defenses, seen, strict=False))
        )
        return sum(losses, x.new_zeros(len(x)))

    def _stage(self, defense: Defense, x: Tensor, draws: Draws, mode: GradientMode) -> Tensor:
        is_followed = torch.is_grad_enabled() and x.requires_grad
        if mode is not GradientMode.EXACT or not is_followed:
            with torch.set_grad_enabled(defense.needs_grad_inside):
                value = defense(x.detach(), draws=draws).detach()
            if not torch.is_grad_enabled():
                return value
            out: Tensor = StraightThrough.apply(self._followed(defense, x, draws, mode), value)
            return out
        if self.is_checkpointed:
            again: Tensor = checkpoint(
                defense, x, draws=draws, use_reentrant=False, preserve_rng_state=False
            )
            return again
        return defense(x, draws=draws)

    def _followed(self, defense: Defense, x: Tensor, draws: Draws, mode: GradientMode) -> Tensor:
        """What the backward pass goes through in place of the purifier."""
        if mode is not GradientMode.RECOVERED or not x.requires_grad:
            return defense.surrogate(x, draws=draws)
        found = recovered(partial(defense.purify, draws=draws), x)
        self.broken = tuple(dict.fromkeys((*self.broken, *found.broken)))
        return found.images


def broken_in(victim: Victim) -> tuple[str, ...]:
    """Where recovered gradients of the purifiers inside a victim were the identity so far."""
    inside = [module for module in victim.modules() if isinstance(module, Purified)]
    return tuple(dict.fromkeys(where for purified in inside for where in purified.broken))
