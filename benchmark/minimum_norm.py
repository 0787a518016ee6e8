"""Costs of minimum-norm attacks: what a search for the smallest change asks, by how often it looks."""

from __future__ import annotations

from benchmark.attack import Passes
from benchmark.goals import passes_of_aim
from benchmark.smallest import candidates_of_smallest


def passes_of_looks(
    looks: int, *, target_class: int | str | None, eot: int, stochastic: bool
) -> Passes:
    """What one image costs at the most whose search (`benchmark.smallest`) takes a gradient at each look.

    Args:
        looks: At an image that never leaves.
        target_class: Where it is driven, as `benchmark.goals.aim_of` takes it.
        eot: Draws over which a gradient is averaged.
        stochastic: Whether the victim is random.
    """
    rows = looks * eot
    return Passes(
        forwards=rows + passes_of_aim(target_class, eot=eot),
        backwards=rows,
        candidates=candidates_of_smallest(eot=eot, stochastic=stochastic),
    )
