"""Queries: what a black-box attack may ask of its victim, one answer a draw, each counted for its image."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from benchmark.engine.attacking.losses import margin
from benchmark.engine.attacking.target import Target
from benchmark.engine.randomness import Draws
from benchmark.engine.threat import Norm, Threat

TRIES = 60
"""Random images that a search for a starting point asks about at the most."""
MOST_HALVINGS = 20
"""How often a bisection halves at the most: float32 tells no more points apart."""


class Oracle:
    """A victim that only answers questions about images, and says for each image how many it has answered.

    A fixed victim answers a question once. A random one is asked k times, at fresh draws, and each of the k
    answers counts as a query.

    Args:
        target: The victim, which counts what it is asked altogether.
        y: True labels `(b,)` of the batch.
        k: Answers to one question of a random victim.
    """

    def __init__(self, target: Target, y: Tensor, *, k: int) -> None:
        self.target = target
        self.k = k if target.victim.stochastic else 1
        self.spent = torch.zeros_like(y)
        """Queries so far, `(b,)`."""
        self.y = y

    def margins(self, x: Tensor, which: Tensor, draws: Draws) -> Tensor:
        """Mean over the k answers of the true logit's lead, turned round: above 0 where misclassified, `(r,)`.

        Args:
            x: The images asked about, `(r, c, h, w)`.
            which: Position in the batch of the image that each belongs to, `(r,)`.
            draws: Of the r questions, at a place of their own.
        """
        return margin(*self._answers(x, which, draws)).view(-1, self.k).mean(1)

    def is_fooled(self, x: Tensor, which: Tensor, draws: Draws) -> Tensor:
        """Whether more than half of the k labels are wrong, `(r,)`; the arguments are those of `margins`."""
        logits, y = self._answers(x, which, draws)
        wrong = (logits.argmax(1) != y).view(-1, self.k).sum(1)
        return 2 * wrong > self.k

    def _answers(self, x: Tensor, which: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        """Logits `(r * k, classes)` and true labels `(r * k,)`."""
        self.spent.index_add_(0, which, torch.full_like(which, self.k))
        rows = self.target.predict(x.repeat_interleave(self.k, 0), draws=draws.repeat(self.k))
        return rows, self.y[which].repeat_interleave(self.k)


def majority_labels(target: Target, x: Tensor, draws: Draws, *, k: int) -> Tensor:
    """The class that a victim names for images `(r, c, h, w)` of the attacker's own, `(r,)`.

    Args:
        target: The victim.
        x: The images.
        draws: Of the r questions.
        k: Answers of a random victim to one question, of which the most frequent is taken; each counts.
    """
    k = k if target.victim.stochastic else 1
    rows = target.predict(x.repeat_interleave(k, 0), draws=draws.repeat(k))
    classes = torch.arange(target.classes, device=x.device)
    votes = rows.argmax(1).view(-1, k, 1) == classes
    return votes.sum(1).argmax(1)


def find_starts(oracle: Oracle, x: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
    """For each image some misclassified one, however far away, among at most `TRIES` random images.

    They are noise on grids from one to every pixel, in turns grey and black and white: a classifier tends to
    see one and the same class in all noise of a kind.

    Args:
        oracle: The victim.
        x: Clean images `(b, c, h, w)`; one that is misclassified is its own start.
        draws: Of the b images.

    Returns:
        Starts `(b, c, h, w)`, and whether one was found, `(b,)`.
    """
    c, h, w = x.shape[1:]
    which = torch.arange(len(x), device=x.device)
    starts = x.clone()
    found = oracle.is_fooled(x, which, draws.at("clean"))
    sides = [
        max(1, math.ceil(min(h, w) / 2**i)) for i in range(math.ceil(math.log2(min(h, w))) + 1)
    ]
    for number in range(TRIES):
        left = (~found).nonzero().flatten()
        if not len(left):
            break
        side = sides[number % len(sides)]
        at = draws.at("start", number).take(left)
        tried = at.uniform((c, side, side), dtype=x.dtype)
        if number // len(sides) % 2:
            tried = tried.round()
        tried = interpolate(tried, size=(h, w), mode="nearest")
        wrong = oracle.is_fooled(tried, left, at.at("look"))
        starts[left[wrong]] = tried[wrong]
        found[left] = wrong
    return starts, found


def halvings(shape: tuple[int, ...], norm: str) -> int:
    """Halvings after which a bisection has come as near to the boundary as HopSkipJump asks.

    A share of `d^(-3/2)` of the way in l2 and of `d^-2` in linf, d pixels (Chen et al. 2020, their own code).
    """
    power = 2.0 if norm is Norm.LINF else 1.5
    return min(MOST_HALVINGS, max(1, math.ceil(power * math.log2(math.prod(shape)))))


def to_boundary(
    oracle: Oracle, x: Tensor, x_adv: Tensor, which: Tensor, draws: Draws, threat: Threat
) -> Tensor:
    """Misclassified images moved towards the clean ones, by bisection, as far as they stay misclassified.

    Along the straight line in l2; in linf every pixel's change is cut to a share of the greatest one.

    Args:
        oracle: The victim.
        x: Clean images `(r, c, h, w)`.
        x_adv: Misclassified ones, of the same shape.
        which: Their positions in the batch, `(r,)`.
        draws: Of the r images, at a place of their own.
        threat: Its norm is the one in which they are moved.

    Returns:
        Images `(r, c, h, w)` that were seen misclassified, each at most as far away as it came.
    """
    δ = x_adv - x
    reach = δ.flatten(1).abs().amax(1).view(-1, 1, 1, 1)

    def at(share: Tensor) -> Tensor:
        share = share.view(-1, 1, 1, 1)
        moved = δ.clamp(-share * reach, share * reach) if threat.norm is Norm.LINF else share * δ
        return (x + moved).clamp(0.0, 1.0)

    low, high = torch.zeros_like(reach.flatten()), torch.ones_like(reach.flatten())
    for number in range(halvings(tuple(x.shape[1:]), threat.norm)):
        middle = (low + high) / 2
        fooled = oracle.is_fooled(at(middle), which, draws.at("bisection", number))
        high, low = torch.where(fooled, middle, high), torch.where(fooled, low, middle)
    return torch.where((high == 1).view(-1, 1, 1, 1), x_adv, at(high))
