"""The verdict's counterpart: chosen images asked about once more, exactly as their attack asked."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from benchmark.engine.attacking.target import Target
from benchmark.engine.randomness import Draws


def right_in_context(
    target: Target, x: Tensor, y: Tensor, *, draws: Draws, is_followed: bool
) -> tuple[int, ...]:
    """At how many of its EOT draws the victim is right about each image while it is attacked, `(b,)`.

    What a purifier might look at is as in the attack: rows, batches, gradient mode, an image that wants its
    gradient, and a backward pass, also just before. The draws alone are fresh: the image was made for others.

    Args:
        target: The victim as the attack had it, with counts of its own.
        x: Images `(b, c, h, w)`.
        y: True labels `(b,)`.
        draws: Of the b images, at a place below the attack's that it did not use.
        is_followed: Whether the attack followed the victim's gradient; else it is asked for answers alone.
    """
    votes_of = partial(_with_votes, target, y)
    if is_followed:
        first = torch.arange(1, device=x.device)
        target.ascend(x[first], votes_of, draws=draws.at("before").take(first))
        votes = target.ascend(x, votes_of, draws=draws.at("eot")).logits  # (b, k)
        right = votes.gather(1, y[:, None]).flatten() * target.eot
        return tuple(round(count) for count in right.tolist())
    rows = draws.at("eot").repeat(target.eot)
    found = target.predict(x.repeat_interleave(target.eot, 0), draws=rows).argmax(1)
    return tuple((found.view(len(x), target.eot) == y[:, None]).sum(1).tolist())


def _with_votes(
    target: Target, y: Tensor, rows: Tensor, which: Tensor, draws: Draws
) -> tuple[Tensor, Tensor]:
    """An objective whose logits are votes, so that their mean over draws is a share of these."""
    logits = target.logits(rows, draws=draws)
    votes = torch.zeros_like(rows[:, :1, 0, 0]).expand(len(rows), target.classes)
    votes = votes.scatter(1, logits.detach().argmax(1, keepdim=True), 1.0)
    return cross_entropy(logits, y[which], reduction="none"), votes
