"""Sets: problems under threats that are no lp ball, of which it is known which images some change fools."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmark.engine.attacking.perturbations import DEGREES, SHIFT
from benchmark.engine.threat import NamedSet, Threat
from benchmark.engine.victims.classifier import Classifier
from benchmark.selftest.closed_forms import LOGIT_GAP, LinearTask, linear_layer

POINTS = 8
SIDE = 8
"""Pixels of a ramp along each axis."""
SLOPE = 0.05
"""Grey levels from one column of a ramp to the next."""
_FACTORS = ((1.05, True), (0.95, False))
"""Budgets, in exact ones, and whether every image falls."""


@dataclass(frozen=True, slots=True)
class SetCase:
    """Images under a threat, and which of them can be fooled.

    Args:
        classifier: Linear, float64.
        x: Images `(b, c, h, w)`, each classified rightly.
        y: Their labels `(b,)`.
        threat: The budget.
        expected: Which images some change of the budget fools, `(b,)` bool.
    """

    classifier: Classifier
    x: Tensor
    y: Tensor
    threat: Threat
    expected: Tensor


Problems = Callable[[], Iterator[SetCase]]
"""Makes problems that are told apart by their budget."""


def flows() -> Iterator[SetCase]:
    """A pixel that is read `d` pixels further along a ramp changes by `d` times its slope; weights add up."""
    weight = torch.zeros(SIDE, SIDE, dtype=torch.float64)
    weight[:, 2 : SIDE - 2] = (-1.0) ** torch.arange(SIDE)[:, None]
    exact = 0.45
    way = exact * SIDE / 2  # an image is 2 wide
    yield from _on_a_ramp(NamedSet.STADV, exact, weight, float(weight.abs().sum()) * SLOPE * way)


def turns() -> Iterator[SetCase]:
    """Of its middle, a ramp loses most where both shifts and the rotation are as great as they may be."""
    weight = torch.zeros(SIDE, SIDE, dtype=torch.float64)
    weight[2 : SIDE - 2, 2 : SIDE - 2] = 1.0
    exact = 0.6
    angle, shift = math.radians(exact * DEGREES), exact * SHIFT * SIDE
    lost = shift * (math.cos(angle) + math.sin(angle))
    yield from _on_a_ramp(NamedSet.SPATIAL, exact, weight, float(weight.sum()) * SLOPE * lost)


def transports() -> Iterator[SetCase]:
    """Where weights fall by 1 a column, brightness carried to the right loses as much as its way is long."""
    weight = -torch.arange(SIDE, dtype=torch.float64).expand(SIDE, SIDE)
    exact = 0.3
    yield from _on_a_ramp(NamedSet.WASSERSTEIN, exact, weight, exact * float(_ramp()[0].sum()))


def _ramp() -> Tensor:
    """Two images that get lighter from left to right, `(2, 1, 8, 8)`."""
    levels = 0.2 + SLOPE * torch.arange(SIDE, dtype=torch.float64)
    return levels.expand(2, 1, SIDE, SIDE).clone()


def _on_a_ramp(norm: NamedSet, exact: float, weight: Tensor, lost: float) -> Iterator[SetCase]:
    """Problems just above and just below an exact budget.

    Args:
        norm: The kind of threat.
        exact: The budget at which the lead is used up.
        weight: Of each pixel in the true logit's lead, `(8, 8)`.
        lost: The most that the weighted sum can lose with that budget.
    """
    weight = weight * (LOGIT_GAP / lost)
    x = _ramp()
    linear = linear_layer(
        torch.stack((weight.flatten(), 0 * weight.flatten())),
        torch.tensor([LOGIT_GAP - float((weight * x[0, 0]).sum()), 0.0], dtype=torch.float64),
    )
    classifier = Classifier(nn.Sequential(nn.Flatten(), linear), name="ramp", classes=2, sha256="")
    y = torch.zeros(len(x), dtype=torch.int64)
    for factor, falls in _FACTORS:
        expected = torch.full_like(y, falls, dtype=torch.bool)
        yield SetCase(classifier, x, y, Threat(norm, factor * exact), expected)


def stickers() -> Iterator[SetCase]:
    """The best sticker of a linear victim is the best of all rectangles, in black and white."""
    task = LinearTask.make(n=POINTS)
    h, w = task.slope.shape[1:]
    for area in (2, 4, 5, 7):
        expected = best_rectangle_gain(task.extremes(), area) > LOGIT_GAP
        threat = Threat(NamedSet.STICKER, area / (h * w))
        yield SetCase(task.classifier, task.x, task.y, threat, expected)


def pixels() -> Iterator[SetCase]:
    """The best pixels of a linear victim are those that black or white takes most from."""
    task = LinearTask.make(n=POINTS, shape=(1, 6, 6))
    for count in range(1, 7):
        expected = best_pixels_gain(task.extremes(), count) > LOGIT_GAP
        threat = Threat(NamedSet.PIXELS, count)
        yield SetCase(task.classifier, task.x, task.y, threat, expected)


def best_rectangle_gain(gain: Tensor, area: int) -> Tensor:
    """The greatest sum of `(n, h, w)` over any upright rectangle of at most `area` pixels, `(n,)`."""
    h, w = gain.shape[1:]
    sums = [
        functional.avg_pool2d(gain, (a, b), stride=1, divisor_override=1).flatten(1).amax(1)
        for a in range(1, min(h, area) + 1)
        for b in range(1, min(w, area // a) + 1)
    ]
    return torch.stack(sums).amax(0)


def best_pixels_gain(gain: Tensor, count: int) -> Tensor:
    """The greatest sum of `(n, h, w)` over any `count` pixels, `(n,)`."""
    return gain.flatten(1).topk(count, dim=1).values.sum(1)
