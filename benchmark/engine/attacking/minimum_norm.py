"""Minimum-norm attacks: their bookkeeping under a budget, and what a search for the smallest change costs."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmark.engine.attacking.attack import Passes
from benchmark.engine.attacking.losses import margin
from benchmark.engine.attacking.target import Target
from benchmark.engine.attacking.targeted import Goal, passes_of_aim
from benchmark.engine.threat import Threat

_TINY = 1e-12
_NOTHING, _OUTSIDE, _WRONG_INSIDE, _FOUND_INSIDE = range(4)


class MinimumNormSearch:
    """The best image of each in a search for the smallest change, and who is still attacked.

    An iterate is a find where it is misclassified, or, towards a goal, where it reaches the goal; in both cases
    by more than the confidence. From the best: a find inside the budget; an iterate inside it that any wrong
    label makes a success, though it is no find; a find outside it; any other. Of two finds or successes the
    smaller change is the better one, of two others that of higher margin.

    Args:
        target: The victim.
        x: Clean images `(b, c, h, w)`.
        y: True labels `(b,)`.
        threat: The budget.
        aim: Where the images are driven.
        confidence: In logit units.
    """

    def __init__(
        self,
        target: Target,
        x: Tensor,
        y: Tensor,
        threat: Threat,
        *,
        aim: Goal,
        confidence: float = 0.0,
    ) -> None:
        self.target, self.x, self.y, self.threat, self.aim = target, x, y, threat, aim
        self.best = x.clone()
        self.which = torch.arange(len(x), device=x.device)
        """Positions `(a,)` of those still attacked."""
        self._confidence = confidence
        self._rank = torch.zeros_like(y)
        self._value = x.new_full((len(x),), float("-inf"))
        """Minus the size of the change, or the margin of one that is no success, `(b,)`."""

    def take_note(self, x_adv: Tensor, logits: Tensor) -> Tensor:
        """Notes iterates, marks the trace, and lets images leave that have a success inside the budget.

        Args:
            x_adv: Iterates `(a, c, h, w)` of those still attacked, inside [0, 1].
            logits: At them, `(a, k)`.

        Returns:
            Which of them are finds, `(a,)`.
        """
        at = self.which
        gap = margin(logits, self.y[at])
        reached = -margin(logits, self.aim.classes[at]) if self.aim.is_goal else gap
        found, size = reached > self._confidence, self.threat.size(self.x[at], x_adv)
        is_inside = size <= self.threat.eps
        rank = torch.where(found, _OUTSIDE, _NOTHING)
        rank[is_inside & (gap > 0)] = _WRONG_INSIDE
        rank[is_inside & found] = _FOUND_INSIDE
        value = torch.where(rank == _NOTHING, gap, -size)
        better = (rank > self._rank[at]) | ((rank == self._rank[at]) & (value > self._value[at]))
        chosen = at[better]
        self.best[chosen] = x_adv[better]
        self._rank[chosen], self._value[chosen] = rank[better], value[better]
        succeeds = self._rank >= _WRONG_INSIDE
        self.target.mark(1.0 - float(succeeds.double().mean()))
        if self.target.leaves_early:
            self.which = at[~succeeds[at]]
        return found

    def images(self) -> Tensor:
        """The best image of each `(b, 1, c, h, w)`; one outside the budget is moved into it.

        Of a random victim also the same change made as long as the budget allows, `(b, 2, c, h, w)`: just
        across a boundary every second draw is still right.
        """
        best = self.threat.project(self.x, self.best)
        if not (self.target.victim.stochastic or self.target.eot > 1):
            return best.unsqueeze(1)
        size = self.threat.size(self.x, self.best).clamp_min(_TINY).view(-1, 1, 1, 1)
        on_the_rim = self.x + (self.best - self.x) * (self.threat.eps / size)
        return torch.stack((best, self.threat.project(self.x, on_the_rim)), dim=1)


def candidates_of_smallest(*, eot: int, stochastic: bool) -> int:
    """How many images `MinimumNormSearch.images` gives for each."""
    return 2 if stochastic or eot > 1 else 1


def passes_of_looks(
    looks: int, *, target_class: int | str | None, eot: int, stochastic: bool
) -> Passes:
    """What one image costs at the most whose search (`MinimumNormSearch`) takes a gradient at each look.

    Args:
        looks: At an image that never leaves.
        target_class: Where it is driven, as `benchmark.engine.attacking.targeted.goal_of` takes it.
        eot: Draws over which a gradient is averaged.
        stochastic: Whether the victim is random.
    """
    rows = looks * eot
    return Passes(
        forwards=rows + passes_of_aim(target_class, eot=eot),
        backwards=rows,
        candidates=candidates_of_smallest(eot=eot, stochastic=stochastic),
    )
