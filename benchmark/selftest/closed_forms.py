"""Truths: problems whose robustness has a closed form, against which every attack can be held."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from benchmark.engine.attacking.attack import Attack
from benchmark.engine.attacking.target import Target
from benchmark.engine.randomness import Draws
from benchmark.engine.threat import Norm, Threat
from benchmark.engine.victims.classifier import Classifier
from benchmark.engine.victims.victim import Victim

LOGIT_GAP = 2.0
"""How far the true logit lies above its one rival's, at every point of the task."""
MARGIN_LINF = 0.06
"""The exact linf margin of every point, in pixel units of [0, 1]."""
ABOVE = 1.05
"""The exact margins at which a search must succeed everywhere."""
_BACKGROUND = -20.0
"""Logit of the classes that never matter."""


def linear_layer(weight: Tensor, bias: Tensor | None = None) -> nn.Linear:
    """The layer of a weight `(k, n)` and a bias `(k,)`, by default 0, in the dtype of the weight."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], dtype=weight.dtype)
    bias = torch.zeros(len(weight)) if bias is None else bias
    layer.load_state_dict({"weight": weight, "bias": bias})
    return layer


@dataclass(frozen=True, slots=True)
class LinearTask:
    """A linear classifier, and points of which the exact margin is known.

    The classes 0 and 1 contend, each the other's one rival; the others lie far below them. Every point has the
    same distance to the boundary. The free pixels of a point lie so far inside [0, 1] that no change of twice
    its margin meets a bound. Its pinned ones lie at a bound already, black or white, where the attacker would
    like to push them further; the margin is that of the free ones.

    Args:
        classifier: Images `(b, c, h, w)` to logits `(b, k)`.
        x: Points `(n, c, h, w)`.
        y: Their labels `(n,)`, 0 and 1 in turns, each predicted rightly.
        slope: Gradient of logit 0 minus logit 1, `(c, h, w)`.
        offset: Its value at the black image.
        margins: The exact margin of every point, by norm: the logit gap over the dual norm of the slope of the
            free pixels.
    """

    classifier: Classifier
    x: Tensor
    y: Tensor
    slope: Tensor
    offset: float
    margins: Mapping[str, float]

    @classmethod
    def make(
        cls,
        *,
        n: int = 16,
        classes: int = 5,
        shape: tuple[int, int, int] = (3, 6, 6),
        dtype: torch.dtype = torch.float64,
        pinned: int = 0,
        seed: int = 0,
    ) -> LinearTask:
        """A task of `n` points with `pinned` pixels at a bound, and at least 2 `classes`, drawn by `seed`."""
        one = Draws.of(seed, torch.zeros(1, dtype=torch.int64), "linear task")
        size, sign = one.at("size").uniform(shape, dtype=torch.float64)[0] + 0.5, one.at("sign")
        slope = size * (1 - 2 * sign.integers(2, shape)[0])  # no entry near 0: the sign is stable
        slope *= LOGIT_GAP / (MARGIN_LINF * slope.abs().sum())
        offset = -0.5 * float(slope.sum())  # the boundary passes through the grey image
        weight = one.at("background").normal((classes, slope.numel()), dtype=torch.float64)[0]
        weight *= 0.01
        bias = torch.full((classes,), _BACKGROUND, dtype=torch.float64)
        weight[0], weight[1] = slope.flatten() / 2, -slope.flatten() / 2
        bias[0], bias[1] = offset / 2, -offset / 2
        points = Draws.of(seed, torch.arange(n), "linear task", "points")
        x = 0.45 + 0.1 * points.uniform(shape, dtype=torch.float64)
        y = torch.arange(n) % 2
        sides = (1 - 2 * y).view(-1, 1, 1, 1)
        bound = torch.arange(slope.numel()).view(shape) < pinned
        x = torch.where(bound, (sides * slope < 0).to(x.dtype), x)  # as low for its class as can be
        gap = (x * slope).flatten(1).sum(1) + offset
        wanted = LOGIT_GAP * sides.flatten()
        free = slope * ~bound
        x = x + ((wanted - gap) / free.square().sum()).view(-1, 1, 1, 1) * free
        margins: dict[str, float] = {
            Norm.LINF: LOGIT_GAP / float(free.abs().sum()),
            Norm.L2: LOGIT_GAP / float(free.norm()),
        }
        network = nn.Sequential(nn.Flatten(), linear_layer(weight.to(dtype), bias.to(dtype)))
        classifier = Classifier(network, name="linear", classes=classes, sha256="")
        return cls(classifier, x.to(dtype), y, slope, offset, margins)

    def threat(self, norm: Norm, factor: float) -> Threat:
        """A budget of `factor` times the exact margin."""
        return Threat(norm, factor * self.margins[norm])

    def room(self, x_adv: Tensor) -> Tensor:
        """True logit minus the rival's at images `(n, ..., c, h, w)` of the n points, `(n, ...)`, float64."""
        gap = (x_adv.double() * self.slope).flatten(-3).sum(-1) + self.offset
        sign = (1 - 2 * self.y).view(-1, *([1] * (gap.ndim - 1)))
        return gap * sign

    def worst_room(self, threat: Threat) -> float:
        """The least room that any image of the budget can have, the same for every point."""
        return LOGIT_GAP * (1 - threat.eps / self.margins[threat.norm])

    def extremes(self) -> Tensor:
        """What black or white in a pixel, the better of both, takes from each point's room, `(n, h, w)`."""
        towards = self.slope * (2 * self.y - 1).view(-1, 1, 1, 1)
        return torch.maximum(towards * (1 - self.x), -towards * self.x).sum(1)

    def gaussian_accuracy(self, room: Tensor | float, sigma: float) -> Tensor:
        """The share of draws of Gaussian noise at which an image of that room is classified rightly.

        Args:
            room: As `room` gives it, any shape.
            sigma: Standard deviation of the noise on each pixel; so small that it never meets 0 or 1.

        Returns:
            The normal CDF of room over the noise's standard deviation along the slope, float64.
        """
        z = torch.as_tensor(room, dtype=torch.float64) / (sigma * float(self.slope.norm()))
        return 0.5 * (1 + torch.erf(z / math.sqrt(2)))


def linear_failures(
    attack: Attack, task: LinearTask, target: Target, norm: Norm, *, above: float = ABOVE
) -> list[str]:
    """Holds an attack to the exact margins: at 1.05 times them it must succeed everywhere, at 0.95 nowhere.

    Args:
        attack: What is tested.
        task: The problem.
        target: A deterministic victim around the task's classifier that hardly moves an image.
        norm: Of the budget.
        above: In exact margins, the budget at which it must succeed everywhere.

    Returns:
        One sentence for each side on which it fails; empty where it holds.
    """
    failures = []
    for factor, expected in ((above, len(task.x)), (0.95, 0)):
        draws = Draws.of(0, torch.arange(len(task.x)), "linear", str(norm))
        x_adv = attack(target, task.x, task.y, threat=task.threat(norm, factor), draws=draws)
        fooled = int(fooled_by_any(target.victim, x_adv, task.y, target).sum())
        if fooled != expected:
            failures.append(
                f"attack {attack.name!r} fooled {fooled} of {len(task.x)} points at {factor} x the "
                f"exact {norm} margin; {expected} is right"
            )
    return failures


def fooled_by_any(victim: Victim, x_adv: Tensor, y: Tensor, target: Target) -> Tensor:
    """Whether any of an image's candidates `(b, m, c, h, w)` fools a deterministic victim, `(b,)`."""
    b, m = x_adv.shape[:2]
    rows = Draws.of(0, torch.arange(b), "verdict").repeat(m)
    with torch.no_grad():
        logits = victim.logits(x_adv.flatten(0, 1), draws=rows, mode=target.mode)
    return (logits.argmax(1).view(b, m) != y[:, None]).any(1)
