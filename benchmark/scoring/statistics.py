"""Statistics of outcomes: intervals for one rate, and paired tests for two on the same images; no torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from statistics import NormalDist

import numpy as np

LEVEL = 0.95
"""Two-sided level of every interval."""
RESAMPLES = 5_000
"""Of a bootstrap: its ends then stand within about 2 % of the interval's width (one standard error)."""
EXACT_FLIPS = 14
"""Up to so many differing images, all 2^m sign patterns are counted; beyond, `SAMPLED_FLIPS` are drawn."""
SAMPLED_FLIPS = 20_000
SEED = 20_260
"""Of the resampling; fixed, so that the same outcomes always get the same interval."""
DECIMALS = 9
"""Ends of a bootstrap are rounded to these, so that no platform's order of summation shows in them."""


def interval(per_image_rates: Sequence[float], is_binary: bool) -> tuple[float, float]:
    """The 95 % interval for the mean over all images that might have been drawn.

    Args:
        per_image_rates: For each image the share of its outcomes that are right, in [0, 1]; at least one.
        is_binary: Whether each image has one outcome, 0 or 1. Then Wilson's interval, else a bootstrap over
            images (the draws of one image are no independent evidence).

    Returns:
        Low and high end, in [0, 1], with the mean between them.

    Raises:
        ValueError: There is no image, or a rate is out of range or, where `is_binary`, no outcome.
    """
    if not per_image_rates or not all(0 <= rate <= 1 for rate in per_image_rates):
        raise ValueError("an interval needs the rate of at least one image, each in [0, 1]")
    if is_binary and set(per_image_rates) - {0, 1}:
        raise ValueError("binary outcomes are 0 or 1 for each image")
    if is_binary:
        return wilson(sum(per_image_rates), len(per_image_rates))
    return bootstrap(per_image_rates)


def wilson(successes: float, n: int) -> tuple[float, float]:
    """Wilson's score interval for a share (Wilson, JASA 1927; Brown, Cai and DasGupta 2001, Eq. 4)."""
    z = NormalDist().inv_cdf(0.5 + LEVEL / 2)
    p = successes / n
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return max(0.0, min(p, middle - half)), min(1.0, max(p, middle + half))


def bootstrap(per_image_rates: Sequence[float]) -> tuple[float, float]:
    """Percentile interval of the mean over images drawn again with replacement (Efron 1979).

    How often each *distinct* rate occurs among n redrawn images is multinomial, so that a resample costs one
    draw for each distinct rate, whatever n. Where all images have the same rate, redrawing them says nothing;
    Wilson's interval stands in, which is never too narrow there (no rate in [0, 1] varies more than a 0/1
    outcome of the same mean).
    """
    values, counts = np.unique(np.asarray(per_image_rates, dtype=np.float64), return_counts=True)
    n = int(counts.sum())
    if len(values) == 1:
        return wilson(float(values[0]) * n, n)
    low, high = _resampled(tuple(values.tolist()), tuple(counts.tolist()))
    mean = math.fsum(per_image_rates) / n
    return min(mean, low), max(mean, high)


@lru_cache(maxsize=10_000)
def _resampled(values: tuple[float, ...], counts: tuple[int, ...]) -> tuple[float, float]:
    """The ends for so many images of each rate; kept, since a board asks again for what a run has asked."""
    n, occurrences = sum(counts), np.asarray(counts)
    drawn = np.random.default_rng(SEED).multinomial(n, occurrences / n, size=RESAMPLES)
    means = (drawn * np.asarray(values)).sum(axis=1) / n  # (RESAMPLES,)
    low, high = np.percentile(means, [50 * (1 - LEVEL), 50 * (1 + LEVEL)])
    return round(float(low), DECIMALS), round(float(high), DECIMALS)


def mcnemar(a: Sequence[bool], b: Sequence[bool]) -> float:
    """Exact two-sided p-value that two 0/1 outcomes on the same images are equally often right.

    (McNemar 1947; exact form: the binomial test on the images on which they differ.)

    Raises:
        ValueError: They are not of one length.
    """
    only_a = sum(1 for x, y in zip(a, b, strict=True) if x and not y)
    only_b = sum(1 for x, y in zip(a, b, strict=True) if y and not x)
    m, least = only_a + only_b, min(only_a, only_b)
    tail = sum(math.comb(m, i) for i in range(least + 1))
    return min(1.0, float(2 * tail / 2**m))


def sign_flip(a: Sequence[float], b: Sequence[float]) -> float:
    """Two-sided p-value that the rates of two victims on the same images differ by chance alone.

    Under that hypothesis the sign of each image's difference is a fair coin (Fisher's randomisation test). All
    sign patterns are counted where few images differ; else patterns are drawn, and the observed one counts as
    one of them. Images of equal absolute difference share one binomial draw.

    Raises:
        ValueError: They are not of one length.
    """
    differences = np.asarray([x - y for x, y in zip(a, b, strict=True) if x != y], dtype=np.float64)
    m = len(differences)
    if m == 0:
        return 1.0
    observed = abs(float(differences.sum())) - 1e-9  # ties that differ by rounding are ties
    if m <= EXACT_FLIPS:
        patterns = (np.arange(2**m)[:, None] >> np.arange(m)) & 1  # (2^m, m)
        sums = ((2 * patterns - 1) * differences).sum(axis=1)
        return float((np.abs(sums) >= observed).mean())
    sizes, counts = np.unique(np.abs(differences).round(DECIMALS), return_counts=True)
    heads = np.random.default_rng(SEED).binomial(counts, 0.5, size=(SAMPLED_FLIPS, len(sizes)))
    sums = ((2 * heads - counts) * sizes).sum(axis=1)
    return float((1 + (np.abs(sums) >= observed).sum()) / (1 + SAMPLED_FLIPS))
