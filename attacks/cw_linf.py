"""C&W in linf: the smallest largest change that fools, by Adam under a shrinking bound."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from benchmark.engine.attacking.adam import Adam
from benchmark.engine.attacking.minimum_norm import MinimumNormAttack, MinimumNormSearch
from benchmark.engine.randomness import Draws
from benchmark.engine.threat import Norm

_SHRINK, _GROWTH = 0.9, 2.0
"""By how much a bound that was met shrinks, and the constant grows where it was not: the authors' values."""


@dataclass(kw_only=True, eq=False, repr=False)
class CWLinf(MinimumNormAttack):
    """Carlini and Wagner's linf attack ("Towards evaluating the robustness", S&P 2017, section VI.C).

    Each round minimises `c * max(Z_y - max_other Z + kappa, 0) + sum_i max(|x'_i - x_i| - tau, 0)` by Adam.
    Where it finds an image that fools and changes no pixel by more than tau, tau becomes .9 of that image's
    change and the next round starts there; where not, c doubles. The first tau is eps, because a larger change
    would not count (the authors begin at 1). Each step is clipped to [0, 1], the first of their three ways with
    the box (section V.D); in tanh space, which they prefer, pixels of 0 and 1 hardly move within a round, and
    with images that are mostly black the attack finds almost nothing. Each image gets the misclassified
    iterate of smallest change; where that is larger than eps it is moved into the budget, and no longer fools.
    An image that was never fooled gets the iterate of highest margin. Where images may leave, one does once it
    is fooled inside the budget. A random victim's images get that one, and the same change as long as the
    budget allows. For linf threats only.

    What papers report as C&W under an linf budget is mostly another attack: steps of PGD on this loss, `pgd`
    with `loss="margin"` and a `confidence`.

    Args:
        rounds: At the most.
        steps: Of Adam, in each round at the most.
        initial_const: The first c.
        step_size: Of Adam, as a share of tau.
        confidence: Kappa, in logit units.
        target_class: A class to which all images are driven, those that belong to it to the class after it;
            `least-likely` or `random`, a wrong class for each image; None, any class but the true one. Towards
            a class an image fools where it reaches it, as Carlini and Wagner measure; an iterate inside the
            budget that meets another wrong class counts where none reaches the goal there.
    """

    name = "cw-linf"
    norms = frozenset({Norm.LINF})

    rounds: int = 15
    steps: int = 100
    initial_const: float = 1e-2
    step_size: float = 0.05
    confidence: float = 0.0
    target_class: int | str | None = None

    @property
    def looks(self) -> int:
        """At every iterate but the last of each round."""
        return self.rounds * self.steps

    def search(self, found: MinimumNormSearch, draws: Draws) -> None:
        """One round after the other, each from the smallest fooling images of those before."""
        start = found.x.clone()
        τ, c = (start.new_full((len(start),), v) for v in (found.threat.eps, self.initial_const))
        for number in range(self.rounds):
            if not len(found.which):
                break
            size = self._descend(found, start, τ, c, draws.at("eot", number))
            was_met = size.isfinite()
            τ, c = torch.where(was_met, _SHRINK * size, τ), torch.where(was_met, c, _GROWTH * c)

    def _descend(
        self, found: MinimumNormSearch, start: Tensor, τ: Tensor, c: Tensor, draws: Draws
    ) -> Tensor:
        """One round: puts the smallest fooling images in place of `start`, `(b, c, h, w)`.

        Args:
            found: The search.
            start: Where it begins.
            τ: The largest change that is free, `(b,)`.
            c: The weight of fooling, `(b,)`.
            draws: At the round's place.

        Returns:
            Their sizes `(b,)`, infinite where there was none.
        """
        size = torch.full_like(τ, float("inf"))
        shown, rate, adam = start.clone(), (self.step_size * τ).view(-1, 1, 1, 1), Adam(start)

        def excess(rows: Tensor, which: Tensor) -> Tensor:
            free = τ[which].view(-1, 1, 1, 1)
            return ((rows - found.x[which]).abs() - free).clamp_min(0.0).flatten(1).sum(1)

        for step in range(self.steps):
            at = found.which
            x_adv = shown[at]
            ascent = found.look(x_adv, draws.at(step), weight=c, size=excess)
            now = found.threat.size(found.x[at], x_adv)
            fools = found.take_note(x_adv, ascent.logits)
            met = fools & (now <= τ[at]) & (now < size[at])
            size[at[met]], start[at[met]] = now[met], x_adv[met]
            if not len(found.which):
                break
            mean, root = adam.moments(at, -ascent.gradient)
            shown[at] = (shown[at] - rate[at] * mean / root).clamp(0.0, 1.0)
        return size

    def _refuse_arguments(self) -> None:
        is_fit = self.initial_const > 0 and self.step_size > 0 and self.confidence >= 0
        self._require(
            min(self.rounds, self.steps) >= 1 and is_fit,
            "at least 1 round and step, an initial_const and a step_size above 0 and a confidence from 0 up",
        )
