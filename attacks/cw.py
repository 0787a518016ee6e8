"""C&W: the smallest l2 change that fools, by Adam in tanh space, for several weights of fooling."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from benchmark.engine.attacking.adam import Adam
from benchmark.engine.attacking.minimum_norm import MinimumNormAttack, MinimumNormSearch
from benchmark.engine.randomness import Draws
from benchmark.engine.threat import Norm

_INSIDE = 1 - 1e-6
"""Keeps pixels of 0 and 1 off the infinite ends of tanh space."""
_GROWTH = 10.0
"""By how much the constant grows as long as nothing has fooled."""


@dataclass(kw_only=True, eq=False, repr=False)
class CW(MinimumNormAttack):
    """Carlini and Wagner's l2 attack ("Towards evaluating the robustness", S&P 2017, sections V and VI.A).

    It minimises `|x' - x|^2 + c * max(Z_y - max_other Z + kappa, 0)` over w, with `x' = (tanh(w) + 1) / 2`,
    and looks for the smallest c that fools. Each image gets the misclassified iterate of smallest change; where
    that is larger than eps it is moved into the budget, and no longer fools. An image that was never fooled
    gets the iterate of highest margin. Where images may leave, one does once it is fooled inside the budget.
    A random victim's images get that one, and the same change as long as the budget allows. For l2 threats
    only.

    Args:
        steps: Of Adam, for each c.
        binary_search_steps: How many c are tried.
        initial_const: The first c.
        step_size: Of Adam, in tanh space, where pixels of 0 and 1 begin 7.3 from the middle: with few or small
            steps they do not move.
        confidence: Kappa, in logit units.
        target_class: A class to which all images are driven, those that belong to it to the class after it;
            `least-likely` or `random`, a wrong class for each image; None, any class but the true one. Towards
            a class the search is for the smallest change that reaches it, as Carlini and Wagner measure; an
            iterate inside the budget that meets another wrong class counts where none reaches the goal there.
    """

    name = "cw"
    norms = frozenset({Norm.L2})

    steps: int = 200
    binary_search_steps: int = 9
    initial_const: float = 1e-3
    step_size: float = 0.01
    confidence: float = 0.0
    target_class: int | str | None = None

    @property
    def looks(self) -> int:
        """At every iterate but the last of each c."""
        return self.binary_search_steps * self.steps

    def search(self, found: MinimumNormSearch, draws: Draws) -> None:
        """Tries one c after the other, from where the search stands."""
        x = found.x
        bounds = x.new_zeros(len(x)), x.new_full((len(x),), float("inf"))
        c = x.new_full((len(x),), self.initial_const)
        for number in range(self.binary_search_steps):
            if not len(found.which):
                break
            is_fooled = self._descend(found, c, draws.at("eot", number))
            c = _next_constant(c, bounds, is_fooled)

    def _descend(self, found: MinimumNormSearch, c: Tensor, draws: Draws) -> Tensor:
        """Adam for one c of each image `(b,)`; returns which images `(b,)` it fooled."""
        is_fooled = torch.zeros_like(found.y, dtype=torch.bool)
        w = torch.atanh((2 * found.x - 1) * _INSIDE)
        adam = Adam(w)

        def distance(rows: Tensor, which: Tensor) -> Tensor:
            return (rows - found.x[which]).square().flatten(1).sum(1)

        for step in range(self.steps):
            at = found.which
            tanh = w[at].tanh()
            x_adv = (tanh + 1) / 2
            ascent = found.look(x_adv, draws.at(step), weight=c, size=distance)
            is_fooled[at] |= found.take_note(x_adv, ascent.logits)
            if not len(found.which):
                break
            mean, root = adam.moments(at, -ascent.gradient * (1 - tanh**2) / 2)
            w[at] -= self.step_size * mean / root
        return is_fooled

    def _refuse_arguments(self) -> None:
        is_fit = self.initial_const > 0 and self.step_size > 0 and self.confidence >= 0
        self._require(
            min(self.steps, self.binary_search_steps) >= 1 and is_fit,
            "at least 1 step and binary search step, an initial_const and a step_size above 0 and a confidence "
            "from 0 up",
        )


def _next_constant(c: Tensor, bounds: tuple[Tensor, Tensor], is_fooled: Tensor) -> Tensor:
    """Halves the interval between the constants that fool and those that do not; narrows `bounds` in place."""
    low, high = bounds
    low[~is_fooled] = c[~is_fooled]
    high[is_fooled] = c[is_fooled]
    return torch.where(high.isinf(), c * _GROWTH, (low + high) / 2)
