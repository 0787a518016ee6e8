"""Statistics against scipy's, against closed forms, and against brute force."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from benchmark.scoring import statistics
from benchmark.scoring.statistics import bootstrap, interval, mcnemar, sign_flip, wilson

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(("k", "n"), [(0, 1), (1, 1), (0, 50), (50, 50), (33, 50), (340, 512)])
def test_wilson_is_scipys(k, n):
    expected = stats.binomtest(k, n).proportion_ci(0.95, method="wilson")
    assert wilson(k, n) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_a_rate_of_zero_or_one_still_has_a_width():
    assert interval([0.0] * 20, is_binary=True)[1] > 0.1
    assert interval([1.0] * 20, is_binary=False)[0] < 0.9


def test_binary_outcomes_get_wilson_and_rates_get_the_bootstrap():
    outcomes = [1.0] * 30 + [0.0] * 20
    assert interval(outcomes, is_binary=True) == wilson(30, 50)
    assert interval([0.5, 0.7, 0.9] * 9, is_binary=False) == bootstrap([0.5, 0.7, 0.9] * 9)


def test_the_bootstrap_is_that_of_scipy_up_to_its_resampling():
    rates = (RNG.binomial(20, RNG.beta(1, 1, size=200)) / 20).tolist()
    expected = stats.bootstrap(
        (rates,), np.mean, n_resamples=20_000, method="percentile", rng=RNG
    ).confidence_interval
    width = expected.high - expected.low
    assert bootstrap(rates) == pytest.approx((expected.low, expected.high), abs=0.05 * width)


def test_draws_of_one_image_are_no_independent_evidence():
    """Twenty draws that always agree carry what one draw carries, so the interval is as wide."""
    one = wilson(30, 50)
    agreeing = bootstrap([1.0] * 30 + [0.0] * 20)
    assert agreeing[1] - agreeing[0] == pytest.approx(one[1] - one[0], rel=0.1)


def test_the_bootstrap_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(1)
    hits = 0
    for _ in range(300):
        low, high = bootstrap((rng.binomial(10, rng.beta(2, 1, size=100)) / 10).tolist())
        hits += low <= 2 / 3 <= high
    assert stats.binomtest(hits, 300, 0.94).pvalue > 0.001


def test_the_same_rates_get_the_same_interval_in_any_order():
    rates = (RNG.integers(0, 21, size=100) / 20).tolist()
    assert bootstrap(rates) == bootstrap(sorted(rates))


@given(st.lists(st.integers(0, 7), min_size=1, max_size=60))
@settings(max_examples=60, deadline=None)
def test_the_mean_lies_in_its_interval_and_the_interval_in_the_unit_interval(sevenths):
    rates = [k / 7 for k in sevenths]
    low, high = interval(rates, is_binary=False)
    assert 0 <= low <= math.fsum(rates) / len(rates) <= high <= 1


@pytest.mark.parametrize("rates", [[], [1.5], [-0.1], [math.nan]])
def test_rates_out_of_range_are_refused(rates):
    with pytest.raises(ValueError, match="at least one image"):
        interval(rates, is_binary=False)


def test_a_rate_that_is_no_outcome_is_refused_as_one():
    with pytest.raises(ValueError, match="binary"):
        interval([0.5], is_binary=True)


@pytest.mark.parametrize(
    ("both", "only_a", "only_b"), [(5, 0, 0), (5, 1, 0), (9, 3, 12), (0, 7, 7)]
)
def test_mcnemar_is_the_exact_binomial_test_on_what_differs(both, only_a, only_b):
    a = [True] * (both + only_a) + [False] * only_b
    b = [True] * both + [False] * only_a + [True] * only_b
    n = only_a + only_b
    expected = stats.binomtest(only_a, n).pvalue if n else 1.0
    assert mcnemar(a, b) == pytest.approx(expected, abs=1e-12)


def test_mcnemar_holds_on_ten_thousand_images():
    a, b = [True] * 5100 + [False] * 4900, [False] * 5100 + [True] * 4900
    assert mcnemar(a, b) == pytest.approx(stats.binomtest(5100, 10_000).pvalue, rel=1e-9)


def test_the_sign_flip_test_is_scipys_exact_permutation_test():
    a, b = RNG.integers(0, 11, size=(2, 12)) / 10
    expected = stats.permutation_test(
        (a, b),
        lambda x, y: abs(float((x - y).sum())),
        permutation_type="samples",
        n_resamples=np.inf,
        alternative="greater",
    ).pvalue
    assert sign_flip(a.tolist(), b.tolist()) == pytest.approx(expected, abs=1e-12)


def test_drawn_sign_flips_agree_with_all_of_them(monkeypatch):
    a, b = (RNG.integers(0, 21, size=(2, 14)) / 20).tolist()
    exact = sign_flip(a, b)
    monkeypatch.setattr(statistics, "EXACT_FLIPS", 0)
    assert sign_flip(a, b) == pytest.approx(exact, abs=4 * math.sqrt(0.25 / 20_000))


def test_on_outcomes_of_0_and_1_the_sign_flip_test_is_mcnemars():
    a, b = [1.0] * 30 + [0.0] * 14, [0.0] * 30 + [1.0] * 14
    expected = mcnemar([x > 0 for x in a], [x > 0 for x in b])
    assert sign_flip(a, b) == pytest.approx(expected, abs=0.005)


def test_equal_rates_never_differ_and_unequal_lengths_are_refused():
    assert sign_flip([0.3, 0.7], [0.3, 0.7]) == 1.0
    with pytest.raises(ValueError, match=r"shorter|longer"):
        sign_flip([0.3], [0.3, 0.7])
    with pytest.raises(ValueError, match=r"shorter|longer"):
        mcnemar([True], [])


def test_levels_and_resamples_are_those_that_pages_name():
    assert (statistics.LEVEL, statistics.RESAMPLES) == (0.95, 5_000)
    assert (statistics.EXACT_FLIPS, statistics.SAMPLED_FLIPS) == (14, 20_000)


@pytest.mark.parametrize("rates", [[0.5] * 20, [0.25], [1.0] * 7])
def test_rates_that_are_all_alike_have_wilsons_interval(rates):
    assert bootstrap(rates) == wilson(sum(rates), len(rates))


def test_a_pattern_as_extreme_as_the_one_found_counts_and_a_tie_by_rounding_too():
    """Differences .1, .2 and .3: only all signs alike reach .6; -.1 with .3 .. ties nothing else."""
    assert sign_flip([0.1, 0.2, 0.3], [0.0, 0.0, 0.0]) == pytest.approx(2 / 8)
    assert sign_flip([0.3, 0.0, 0.0], [0.0, 0.2, 0.1]) == 1.0  # the sum is 0 but for rounding
    assert sign_flip([0.5], [0.25]) == 1.0


def test_drawn_patterns_as_extreme_as_the_one_found_count_and_so_does_it_itself():
    """Fifteen images that differ alike: all signs must agree, once in 2^14, or 1 of 20,000 draws and one."""
    a = [0.5] * 15
    p = sign_flip(a, [0.0] * 15)
    assert p * 20_001 == pytest.approx(round(p * 20_001))
    assert 1 <= round(p * 20_001) <= 8
    even = sign_flip([0.5] * 8 + [0.0] * 8, [0.0] * 8 + [0.5] * 8)
    assert even == 1.0  # a sum of 0 is the least that there is: every pattern is as extreme


@pytest.mark.parametrize("exact", [0, 14])
def test_sizes_weigh_in_drawn_and_in_counted_patterns(exact, monkeypatch):
    """One image differs by 1 and three by .25: |sum| of .25 or more for all patterns, of 1.25 for 4 of 16."""
    monkeypatch.setattr(statistics, "EXACT_FLIPS", exact)
    p = sign_flip([1.0, 0.25, 0.25, 0.0], [0.0, 0.0, 0.0, 0.25])
    assert p == pytest.approx(8 / 16, abs=0.015)
    p = sign_flip([1.0, 0.25, 0.25, 0.25], [0.0] * 4)
    assert p == pytest.approx(2 / 16, abs=0.015)
    p = sign_flip([0.0, 0.25, 0.25, 0.25], [1.0, 0.0, 0.0, 0.0])
    assert p == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("exact", [0, 14])
def test_sums_that_lie_apart_by_a_billionth_are_ties(exact, monkeypatch):
    """The sums are 1e-9 and 0: all four patterns are as extreme as the one found."""
    monkeypatch.setattr(statistics, "EXACT_FLIPS", exact)
    assert sign_flip([5e-10, 5e-10], [0.0, 0.0]) == 1.0
