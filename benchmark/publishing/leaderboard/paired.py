"""Paired statistics: by how much two victims differ on the same images, with an interval; no torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

from benchmark.scoring.statistics import DECIMALS, LEVEL, RESAMPLES, SEED, mcnemar, sign_flip

ONE_SIDED = 2 * LEVEL - 1
"""Two-sided level of an interval of which each end is a one-sided bound at `LEVEL`."""
_HALVINGS = 60
"""Of the interval in which an end is looked for: beyond a double's digits."""


def difference(
    a: Sequence[float], b: Sequence[float], level: float = LEVEL
) -> tuple[float, float, float]:
    """The mean of `b - a` over images, with its interval for all images that might have been drawn.

    Args:
        a: Per-image rates of the one, each in [0, 1]; at least one.
        b: Of the other, in the same order.
        level: Two-sided level of the interval, in (0, 1).

    Returns:
        Mean, low and high end, in [-1, 1]. Where all rates are 0 or 1, Tango's interval; else a bootstrap over
        images (draws of one image are no independent evidence), and where every image differs by the same,
        which redrawing says nothing about, Tango's width for images that do not differ at all.

    Raises:
        ValueError: They are of two lengths, or empty.
    """
    pairs = list(zip(a, b, strict=True))
    if not pairs:
        raise ValueError("a difference needs at least one image")
    n = len(pairs)
    mean = math.fsum(y - x for x, y in pairs) / n
    if all(rate in (0, 1) for pair in pairs for rate in pair):
        gained = sum(1 for x, y in pairs if y > x)
        low, high = tango(gained, sum(1 for x, y in pairs if y < x), n, level)
    else:
        low, high = _bootstrap([y - x for x, y in pairs], level)
    return mean, max(-1.0, min(mean, low)), min(1.0, max(mean, high))


def chance(a: Sequence[float], b: Sequence[float]) -> float:
    """Two-sided p-value that per-image rates differ by chance: exact McNemar for 0/1, else a sign-flip test.

    Raises:
        ValueError: They are of two lengths.
    """
    if all(rate in (0, 1) for rate in (*a, *b)):
        return mcnemar([rate == 1 for rate in a], [rate == 1 for rate in b])
    return sign_flip(a, b)


def tango(gained: int, lost: int, n: int, level: float = LEVEL) -> tuple[float, float]:
    """Score interval for a difference of paired shares (Tango, Statistics in Medicine 1998, Eqs. 6 to 8).

    Unlike Wald's it is never of no width: where no image of n differs, it reaches `z^2 / (n + z^2)` each way.

    Args:
        gained: Images that only the second has right.
        lost: Images that only the first has right.
        n: All images, at least one.
        level: Two-sided level, in (0, 1).
    """
    middle, z = (gained - lost) / n, _z(level)

    def end(outer: float) -> float:
        inside, outside = middle, outer
        for _ in range(_HALVINGS):
            Δ = (inside + outside) / 2
            if _score(Δ, gained, lost, n) <= z:
                inside = Δ
            else:
                outside = Δ
        return round(inside, DECIMALS)

    return end(-1.0), end(1.0)


def _z(level: float) -> float:
    """Standard errors from the middle of an interval of a two-sided level to its ends."""
    return NormalDist().inv_cdf(0.5 + level / 2)


def _score(Δ: float, gained: int, lost: int, n: int) -> float:
    """How many standard errors the difference found lies from Δ, were Δ the true one."""
    distance = abs(gained - lost - n * Δ)
    b = -gained - lost + (2 * n - gained + lost) * Δ
    c = -lost * Δ * (1 - Δ)
    q = (math.sqrt(max(0.0, b * b - 8 * n * c)) - b) / (4 * n)  # share only the first has right
    variance = n * (2 * q + Δ * (1 - Δ))
    if variance <= 0:
        return 0.0 if distance == 0 else math.inf
    return distance / math.sqrt(variance)


def _bootstrap(differences: Sequence[float], level: float) -> tuple[float, float]:
    """Percentile interval of the mean over images drawn again with replacement (Efron 1979)."""
    found = np.asarray(differences, dtype=np.float64).round(DECIMALS)
    values, counts = np.unique(found, return_counts=True)
    n = len(found)
    if len(values) == 1:
        width = _z(level) ** 2 / (n + _z(level) ** 2)
        return float(values[0]) - width, float(values[0]) + width
    drawn = np.random.default_rng(SEED).multinomial(n, counts / n, size=RESAMPLES)
    means = (drawn * values).sum(axis=1) / n  # (RESAMPLES,)
    low, high = np.percentile(means, [50 * (1 - level), 50 * (1 + level)])
    return round(float(low), DECIMALS), round(float(high), DECIMALS)
