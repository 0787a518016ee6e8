"""Boundary attack: a random walk along the boundary by labels alone, which steals towards the image."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from benchmark.engine.attacking.attack import Attack, Passes
from benchmark.engine.attacking.label_walk import LabelWalk
from benchmark.engine.attacking.queries import TRIES, halvings
from benchmark.engine.attacking.target import Target
from benchmark.engine.randomness import Draws
from benchmark.engine.threat import Norm, Threat

_EVERY = 10
"""Steps after which the sideways step is judged by itself too."""
_SIDEWAYS, _WHOLE = 100, 30
"""Judgements of sideways and of whole steps that a change of their length looks back on."""
_CONVERGED = 1e-7
_BACK = 2.0
"""Steps towards the image that one away from it undoes."""
_POINTS = 100
"""Points of the convergence trace, about."""
_TINY = 1e-12


@dataclass(kw_only=True, eq=False, repr=False)
class Boundary(Attack):
    """Boundary Attack (Brendel, Rauber and Bethge, ICLR 2018, algorithm 1), by labels alone.

    From a misclassified image each step goes sideways, on the sphere around the clean image, and then towards
    it; it is kept where the label stays wrong. The lengths follow the shares of successes, with the numbers
    of its authors' code in foolbox 3.3.4. It makes the l2 distance small; among its iterates the one nearest in
    the threat's own norm is kept. An image counts only within eps: where the nearest lies farther away it is
    moved into the budget, and no longer fools. Of a fixed victim an image leaves, where it may, once it is
    within eps. A random victim's answer is the majority of `draws` labels, each a query; after every step the
    image that stands is asked about again, and moves away where it only stood by luck. Its images go the whole
    way, and the last and the nearest come back, both on the rim of the budget. Behind much noise this finds
    little: HopSkipJump does better with fewer queries.

    It is written here because in foolbox all images of a batch share one random direction a step, an image
    without a starting point ends the attack for all, and draws come from the global generator.

    Args:
        steps: Proposals for an image (ADD-Defense: 5000, on CIFAR-10 2000).
        sideways: First length of the sideways step, as a share of the distance.
        towards: First length of the step towards the image, likewise.
        factor: By how much lengths change.
        draws: Labels of a random victim for one answer.
    """

    name = "boundary"
    mixes = False

    steps: int = 5000
    sideways: float = 0.01
    towards: float = 0.01
    factor: float = 1.5
    draws: int = 5

    def perturb(
        self, target: Target, x: Tensor, y: Tensor, *, threat: Threat, draws: Draws
    ) -> Tensor:
        """One image for each `(b, 1, c, h, w)`, two for each where the victim is random."""
        self._refuse_arguments()
        walk = _Walk(target, x, y, threat=threat, draws=draws, attack=self)
        for step in range(1, self.steps + 1):
            walk.let_go()
            if not len(walk.which):
                break
            walk.step(step)
            if step % max(1, self.steps // _POINTS) == 0:
                walk.mark()
        walk.mark()
        return walk.images()

    def passes(self, *, stochastic: bool, shape: tuple[int, int, int], **_: object) -> Passes:
        """A start, a bisection, an answer a step (two of a random victim) and each tenth another, at most."""
        k = self.draws if stochastic else 1
        most = max(halvings(shape, norm) for norm in Norm)
        looks = 1 + TRIES + most + (1 + stochastic) * self.steps + self.steps // _EVERY
        return Passes(forwards=k * looks, backwards=0, candidates=2 if stochastic else 1)

    def _refuse_arguments(self) -> None:
        is_fit = self.sideways > 0 and self.towards > 0 and self.factor > 1
        self._require(
            min(self.steps, self.draws) >= 1 and is_fit,
            "at least 1 step and draw, lengths above 0 and a factor above 1",
        )


class _Walk(LabelWalk):
    """Where each image of a batch stands, and how far it steps."""

    def __init__(
        self,
        target: Target,
        x: Tensor,
        y: Tensor,
        *,
        threat: Threat,
        draws: Draws,
        attack: Boundary,
    ) -> None:
        super().__init__(target, x, y, threat=threat, draws=draws, k=attack.draws)
        self.factor = attack.factor
        self.sideways = torch.full_like(x[:, 0, 0, 0], attack.sideways)
        self.towards = torch.full_like(x[:, 0, 0, 0], attack.towards)
        self._sideways, self._whole = _Record(x, _SIDEWAYS), _Record(x, _WHOLE)

    def let_go(self) -> None:
        """Lets images leave whose steps have become too small or, where they may, that are within eps."""
        self.leave(self.towards >= _CONVERGED)

    def step(self, step: int) -> None:
        """One step of all that walk, kept where the label stays wrong and the image comes nearer in l2."""
        at, draws = self.which, self.draws.at("step", step).take(self.which)
        x, here = self.x[at], self.x_adv[at]
        aside, tried = self._proposals(x, here, draws)
        wrong = self.oracle.is_fooled(tried, at, draws.at("whole"))
        if step % _EVERY == 0:
            self._sideways.add(at, self.oracle.is_fooled(aside, at, draws.at("aside")))
            self._whole.add(at, wrong)
            self._adapt()
        kept = wrong & (_length(tried - x) < _length(here - x)).flatten()
        self.x_adv[at[kept]] = tried[kept]
        if self.target.victim.stochastic:
            self._withdraw(draws.at("again"))
        self.keep_nearer()

    def _withdraw(self, draws: Draws) -> None:
        """Moves images away again that fresh draws do not find misclassified: luck brought them so near."""
        at = self.which
        lucky = at[~self.oracle.is_fooled(self.x_adv[at], at, draws)]
        away = 1 + _BACK * self.towards[lucky].view(-1, 1, 1, 1)
        x = self.x[lucky]
        self.x_adv[lucky] = (x + away * (self.x_adv[lucky] - x)).clamp(0.0, 1.0)

    def _proposals(self, x: Tensor, here: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        """The sideways step, and the same followed by one towards the image, `(a, c, h, w)` each."""
        towards = x - here
        distance = _length(towards).clamp_min(_TINY)
        η = draws.normal(tuple(x.shape[1:]), dtype=x.dtype)
        η = η - (η * towards).sum((1, 2, 3), keepdim=True) / distance**2 * towards
        sideways = self.sideways[self.which].view(-1, 1, 1, 1)
        η = η * sideways * distance / _length(η).clamp_min(_TINY)
        aside = (x + (η - towards) / (sideways**2 + 1).sqrt()).clamp(0.0, 1.0)
        left = _length(x - aside).clamp_min(_TINY)
        step = self.towards[self.which].view(-1, 1, 1, 1) * distance
        share = (step + left - distance).clamp_min(0.0) / left  # what clipping did is made good
        return aside, (aside + share * (x - aside)).clamp(0.0, 1.0)

    def _adapt(self) -> None:
        """Lengthens steps that succeed often and shortens those that seldom do."""
        rate, is_full = self._sideways.rates()
        longer, shorter = is_full & (rate > 0.5), is_full & (rate < 0.2)
        for lengths in (self.sideways, self.towards):
            lengths[longer] *= self.factor
            lengths[shorter] /= self.factor
        self._sideways.forget(longer | shorter)
        rate, is_full = self._whole.rates()
        longer, shorter = is_full & (rate > 0.25), is_full & (rate < 0.1)
        self.towards[longer] *= self.factor
        self.towards[shorter] /= self.factor
        self._whole.forget(longer | shorter)


class _Record:
    """The last n successes and failures of each image of a batch."""

    def __init__(self, x: Tensor, n: int) -> None:
        self._outcomes = x.new_zeros(len(x), n)
        self._count = torch.zeros(len(x), dtype=torch.int64, device=x.device)

    def add(self, which: Tensor, success: Tensor) -> None:
        """Notes one outcome `(a,)` for each image at positions `(a,)`."""
        n = self._outcomes.shape[1]
        self._outcomes[which, self._count[which] % n] = success.to(self._outcomes.dtype)
        self._count[which] += 1

    def rates(self) -> tuple[Tensor, Tensor]:
        """The share of successes, and whether there are n outcomes, `(b,)` each."""
        return self._outcomes.mean(1), self._count >= self._outcomes.shape[1]

    def forget(self, which: Tensor) -> None:
        """Begins anew for some images, mask `(b,)`."""
        self._count[which] = 0


def _length(δ: Tensor) -> Tensor:
    """Of each image's change in l2, `(a, 1, 1, 1)`."""
    length: Tensor = δ.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    return length
