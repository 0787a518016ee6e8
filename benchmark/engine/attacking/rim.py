"""The rim of a budget: images as far from the clean ones as a threat allows."""

from __future__ import annotations

from torch import Tensor

from benchmark.engine.randomness import Draws
from benchmark.engine.threat import Norm, Threat


def on_the_rim(x: Tensor, x_adv: Tensor, threat: Threat) -> Tensor:
    """The images `(b, c, h, w)` as far from the clean ones as the budget allows, in the same direction."""
    size = threat.size(x, x_adv).clamp_min(1e-12).view(-1, 1, 1, 1)
    return threat.project(x, x + (x_adv - x) * (threat.eps / size))


def random_rim(x: Tensor, threat: Threat, draws: Draws) -> Tensor:
    """A random point of each image's rim, inside [0, 1]: a corner in linf, a random direction in l2."""
    shape = tuple(x.shape[1:])
    if threat.norm is Norm.LINF:
        direction = (2 * draws.integers(2, shape) - 1).to(x.dtype)
    else:
        direction = threat.direction(draws.normal(shape, dtype=x.dtype))
    return threat.project(x, x + threat.eps * direction)
