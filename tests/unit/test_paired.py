"""Differences on the same images: Tango's interval against its own equation and its coverage, the bootstrap."""

from __future__ import annotations

import math
import random
from itertools import product
from statistics import NormalDist

import pytest

from benchmark.publishing.paired import chance, difference, tango

Z = NormalDist().inv_cdf(0.975)


def best_share(Δ, gained, lost, n):
    """The likeliest share of images that only the first has right, given the difference; by ternary search."""

    def log_likelihood(q):
        cells = ((lost, q), (gained, q + Δ), (n - gained - lost, 1 - 2 * q - Δ))
        if any(count and share <= 0 for count, share in cells):
            return -math.inf
        return sum(count * math.log(share) for count, share in cells if count)

    low, high = max(0.0, -Δ) + 1e-12, (1 - Δ) / 2 - 1e-12
    for _ in range(300):
        a, b = low + (high - low) / 3, high - (high - low) / 3
        low, high = (a, high) if log_likelihood(a) < log_likelihood(b) else (low, b)
    return (low + high) / 2


@pytest.mark.parametrize(("gained", "lost", "n"), [(9, 2, 32), (1, 7, 50), (5, 5, 20), (3, 1, 12)])
def test_tangos_ends_are_where_the_score_is_that_of_95_percent(gained, lost, n):
    for Δ in tango(gained, lost, n):
        q = best_share(Δ, gained, lost, n)
        score = abs(gained - lost - n * Δ) / math.sqrt(n * (2 * q + Δ * (1 - Δ)))
        assert score == pytest.approx(Z, abs=1e-4)


@pytest.mark.parametrize("n", [10, 64, 512])
def test_where_no_image_differs_the_interval_still_has_a_width(n):
    low, high = tango(0, 0, n)
    assert (low, high) == pytest.approx((-(Z**2) / (n + Z**2), Z**2 / (n + Z**2)), abs=1e-8)


def test_the_interval_is_mirrored_with_its_victims():
    low, high = tango(2, 9, 40)
    assert tango(9, 2, 40) == pytest.approx((-high, -low), abs=1e-8)


@pytest.mark.parametrize(("p_gain", "p_loss"), [(0.1, 0.1), (0.02, 0.2), (0.3, 0.05), (0.0, 0.1)])
def test_tangos_interval_covers_the_true_difference_about_as_often_as_it_says(p_gain, p_loss):
    n, covered = 40, 0.0
    for b, c in product(range(n + 1), repeat=2):
        if b + c <= n:
            ways = math.comb(n, b) * math.comb(n - b, c)
            chance_of = ways * p_gain**b * p_loss**c * (1 - p_gain - p_loss) ** (n - b - c)
            if chance_of > 1e-9:
                low, high = tango(b, c, n)
                covered += chance_of * (low <= p_gain - p_loss <= high)
    assert 0.925 <= covered <= 0.99


def test_the_bootstrap_agrees_with_the_normal_interval_on_many_images():
    rng = random.Random(0)
    a = [rng.randint(0, 20) / 20 for _ in range(2000)]
    b = [min(1.0, max(0.0, x + rng.choice((-0.1, 0.0, 0.05)))) for x in a]
    mean, low, high = difference(a, b)
    spread = math.sqrt(sum((y - x - mean) ** 2 for x, y in zip(a, b, strict=True)) / 2000)
    assert (low, high) == pytest.approx(
        (mean - Z * spread / math.sqrt(2000), mean + Z * spread / math.sqrt(2000)), abs=4e-4
    )


def test_rates_that_all_differ_by_the_same_have_the_width_of_none_that_differs():
    mean, low, high = difference([0.5] * 40, [0.4] * 40)
    width = Z**2 / (40 + Z**2)
    assert (mean, low, high) == pytest.approx((-0.1, -0.1 - width, -0.1 + width))


def test_a_difference_needs_images_in_pairs():
    with pytest.raises(ValueError, match="at least one image"):
        difference([], [])
    with pytest.raises(ValueError, match="shorter"):
        difference([1.0, 0.0], [1.0])


def test_chance_is_exact_for_fixed_victims_and_a_sign_flip_for_random_ones():
    assert chance([1, 1, 1, 1], [0, 0, 0, 0]) == pytest.approx(2 / 16)
    assert chance([1, 1, 1, 1], [0.5, 0.5, 0.5, 0.5]) == pytest.approx(2 / 16)
