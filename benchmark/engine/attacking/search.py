"""Searches: the bookkeeping of an iterative attack, who is still attacked and the best image of each so far."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmark.engine.attacking.losses import Loss, margin
from benchmark.engine.attacking.target import Ascent, Objective, Target
from benchmark.engine.randomness import Draws
from benchmark.engine.threat import Norm, Threat


class Search:
    """The images of a batch that are still attacked, and the best image found for each of all of them.

    Which iterate is the best one: where `puts_success_first`, a misclassified one comes before any other,
    and the greater value decides among equals; else the greater value alone.

    Args:
        target: The victim.
        x: Clean images `(b, c, h, w)`.
        y: True labels `(b,)`.
        draws: Of the b images.
        puts_success_first: See above; only then does an image leave the batch once it is misclassified, and
            only where the target says so.
        follows: An earlier search over the same images: those that left it are left out, and keep its image.
        keeps: What is kept of each image in place of the image itself, such as the parameters that it is made
            of: `(b, ...)`, of the clean images. `offer` is then given those of the iterates.
    """

    def __init__(
        self,
        target: Target,
        x: Tensor,
        y: Tensor,
        *,
        draws: Draws,
        puts_success_first: bool,
        follows: Search | None = None,
        keeps: Tensor | None = None,
    ) -> None:
        self.target = target
        self.puts_success_first = puts_success_first
        self.leaves_early = target.leaves_early and puts_success_first
        self.best = (x if keeps is None else keeps).clone()
        self.which = torch.arange(len(x), device=x.device)
        """Positions `(a,)` in the batch of those still attacked."""
        self._x, self._y, self._draws = x, y, draws
        self._value = torch.full_like(x[:, 0, 0, 0], float("-inf"))
        self._fooled = torch.zeros_like(y, dtype=torch.bool)
        if follows is not None and follows.leaves_early:
            self.which = follows.which
            self._fooled[:] = True
            self._fooled[self.which] = False
            self.best[self._fooled] = follows.best[self._fooled]

    @property
    def x(self) -> Tensor:
        """Clean images `(a, c, h, w)` of those still attacked."""
        return self._x[self.which]

    @property
    def y(self) -> Tensor:
        """True labels `(a,)` of those still attacked."""
        return self._y[self.which]

    def draws(self, *names: str | int) -> Draws:
        """The draws of those still attacked, at a place."""
        return self._draws.at(*names).take(self.which)

    def start(self, threat: Threat, *names: str | int) -> Tensor:
        """A uniformly random point of the budget around each image still attacked, inside [0, 1]."""
        x = self.x
        shape = tuple(x.shape[1:])
        at = self.draws("init", *names)
        if threat.norm is Norm.LINF:
            δ = 2 * at.uniform(shape, dtype=x.dtype) - 1
        else:
            radius = at.at("radius").uniform((1, 1, 1), dtype=x.dtype) ** (1 / x[0].numel())
            δ = threat.direction(at.normal(shape, dtype=x.dtype)) * radius
        return threat.project(x, x + threat.eps * δ)

    def look(
        self, x_adv: Tensor, objective: Objective, *names: str | int, is_evidence: bool = True
    ) -> Ascent:
        """Loss, gradient and logits at iterates `(a, c, h, w)`, over EOT rows drawn at a place.

        Args:
            x_adv: The iterates.
            objective: The loss; it gets positions among those still attacked, as `self.y` has them.
            *names: The place.
            is_evidence: Whether a gradient of 0 is a sign of a masked one; not where the loss itself may be
                flat, as a capped one is.
        """
        target = self.target
        counts = target.gradients, target.zero_gradients
        ascent = target.ascend(x_adv, objective, draws=self.draws("eot", *names))
        if not is_evidence:
            target.gradients, target.zero_gradients = counts
        return ascent

    def offer(self, x_adv: Tensor, logits: Tensor, value: Tensor) -> Tensor:
        """Takes note of iterates `(a, c, h, w)`, marks the trace, and lets images leave.

        Args:
            x_adv: The iterates, or what is kept of them.
            logits: At them, `(a, k)`.
            value: How good they are, `(a,)`.

        Returns:
            Which of the a images stay, mask `(a,)`; the caller packs what it keeps for each.
        """
        at = self.which
        wrong = logits.argmax(1) != self.y
        better = value > self._value[at]
        if self.puts_success_first:
            better = (wrong & ~self._fooled[at]) | ((wrong == self._fooled[at]) & better)
        chosen = at[better]
        self.best[chosen] = x_adv[better]
        self._value[chosen] = value[better]
        if self.puts_success_first:
            self._fooled[at] |= wrong
        else:
            self._fooled[at] = wrong
        self.target.mark(1.0 - float(self._fooled.double().mean()))
        stays = ~wrong if self.leaves_early else torch.ones_like(wrong)
        self.which = at[stays]
        return stays

    def consider(self, x_adv: Tensor, ascent: Ascent) -> Tensor:
        """Offers iterates by the loss of a look at them; where success comes first, by `success_value`."""
        value = ascent.loss
        if self.puts_success_first:
            value = success_value(ascent.logits, self.y, value)
        return self.offer(x_adv, ascent.logits, value)


def success_value(logits: Tensor, y: Tensor, loss: Tensor) -> Tensor:
    """What a search that puts success first compares: the margin where misclassified, else the loss, `(a,)`."""
    gap = margin(logits, y)
    return torch.where(gap > 0, gap, loss)


def untargeted(target: Target, y: Tensor, loss: Loss) -> Objective:
    """The objective of a loss of the victim's logits with the true labels `(a,)`."""

    def objective(rows: Tensor, which: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        logits = target.logits(rows, draws=draws)
        return loss(logits, y[which]), logits

    return objective
