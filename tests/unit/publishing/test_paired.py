"""Differences on the same images: Tango's interval against its own equation and its coverage, the bootstrap."""

from __future__ import annotations

import math
import random
from itertools import product
from statistics import NormalDist

import pytest

from benchmark.publishing.leaderboard.paired import ONE_SIDED, _bootstrap, chance, difference, tango

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


def test_each_end_of_a_one_sided_interval_is_a_bound_at_95_percent():
    z = NormalDist().inv_cdf(0.95)
    low, high = tango(0, 0, 64, ONE_SIDED)
    assert (
        high == -low == pytest.approx(z * z / (64 + z * z))
    )  # solved by hand: n = 64, no discordant pair


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


def test_fixed_victims_differ_by_the_images_gained_and_lost_and_images_alike_count_in_n_alone():
    a, b = [1, 1, 0, 0, 0, 1, 0, 0], [1, 0, 1, 1, 1, 1, 0, 0]
    mean, low, high = difference(a, b)
    assert mean == pytest.approx((3 - 1) / 8)
    assert (low, high) == tango(3, 1, 8)
    assert difference(b, a) == pytest.approx((-mean, -high, -low))


def test_an_interval_never_leaves_what_a_difference_can_be():
    for a, b, end in (([0] * 3, [1] * 3, 1.0), ([1] * 3, [0] * 3, -1.0)):
        mean, low, high = difference(a, b)
        assert mean == end
        assert -1 <= low <= mean <= high <= 1
    mean, low, high = difference([0.9, 0.9], [0.1, 0.1])
    assert (mean, low) == (pytest.approx(-0.8), -1.0)
    mean, low, high = difference([0.1, 0.1], [0.9, 0.9])
    assert (mean, high) == (pytest.approx(0.8), 1.0)


def test_at_the_ends_of_what_can_be_the_score_is_that_of_a_certain_difference():
    """Where every image is gained, the upper end is 1 and the lower one `n / (n + z^2)` below it."""
    n = 20
    low, high = tango(n, 0, n)
    assert high == 1.0
    assert low == pytest.approx((n - Z * Z) / (n + Z * Z), abs=1e-8)
    assert tango(0, n, n) == pytest.approx((-1.0, -low))


def test_one_rate_that_is_no_outcome_makes_the_test_one_of_rates():
    """Three images, differing by 1, 1 and .5: the sum is as large as found for two of eight sign patterns."""
    assert chance([1, 1, 1], [0, 0, 0.5]) == pytest.approx(2 / 8)
    assert chance([1, 1, 0], [0, 0, 0.5]) == pytest.approx(4 / 8)  # 1 + 1 - .5 or more either way


def test_a_narrower_level_is_a_narrower_interval_with_its_own_ends():
    z = NormalDist().inv_cdf(0.95)
    assert tango(0, 0, 30, 0.9) == pytest.approx(
        (-(z**2) / (30 + z**2), z**2 / (30 + z**2)), abs=1e-8
    )
    rates = [i / 10 for i in range(11)] * 30
    wide = difference([0.5] * 330, rates)
    narrow = difference([0.5] * 330, rates, 0.5)
    ratio = (narrow[2] - narrow[1]) / (wide[2] - wide[1])
    assert ratio == pytest.approx(NormalDist().inv_cdf(0.75) / Z, rel=0.05)


def test_sums_that_differ_in_their_last_bits_are_one_value():
    """What 0.1 + 0.2 - 0.3 is on one machine is 0 on another."""
    assert _bootstrap([0.1 + 0.2 - 0.3, 0.0, 0.0], 0.95) == _bootstrap([0.0] * 3, 0.95)
