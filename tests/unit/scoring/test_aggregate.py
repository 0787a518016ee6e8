"""Shards put together by arithmetic done by hand: costs, shares, traces, gaps, and the choice of one image."""

import math
from dataclasses import replace

import pytest

from benchmark.engine.criterion import Outcome, Rule
from benchmark.records.rates import Rate, kept_margin, mean_rate, refuse_other_mean
from benchmark.records.result import Result, ShardCost, Status
from benchmark.scoring.aggregate import cut, gather
from benchmark.scoring.choice import choose, rate_of
from benchmark.scoring.flag_parts import flag_of, points, raised_above, resolution
from benchmark.scoring.statistics import bootstrap, wilson
from tests.helpers.sample_entries import toy
from tests.helpers.tiny_task import one_row

ROW = one_row()
RIGHT, WRONG = Outcome(1.0, 3.0, "1"), Outcome(0.0, -2.0, "0")


def shard(start, *outcomes, **fields):
    return Result(
        job=ROW.job.key,
        start=start,
        stop=start + len(outcomes),
        status=Status.OK,
        outcomes=dict.fromkeys(Rule, outcomes),
        **fields,
    )


def failed(start, stop):
    return Result(job=ROW.job.key, start=start, stop=stop, status=Status.FAILED, error="boom")


SHARDS = (
    shard(
        0,
        RIGHT,
        cost=ShardCost(forwards=3, backwards=1, seconds=0.5, peak_bytes=9),
        zero_gradients=1.0,
        trace=(1.0, 0.0),
        warnings=("a", "b"),
    ),
    shard(
        1,
        RIGHT,
        WRONG,
        RIGHT,
        cost=ShardCost(forwards=5, backwards=3, seconds=1.5, peak_bytes=4),
        zero_gradients=0.2,
        trace=(1.0, 0.5, 0.25),
        warnings=("b",),
    ),
)


def test_costs_are_summed_over_shards_and_divided_by_their_images():
    cost = gather(ROW, SHARDS, 4).cost()
    assert (cost.forwards_per_image, cost.backwards_per_image, cost.seconds_per_image) == (
        2,
        1,
        0.5,
    )
    assert cost.peak_memory_bytes == 9
    assert gather(ROW, [shard(0, RIGHT)], 1).cost().peak_memory_bytes is None
    nothing = gather(ROW, [], 1).cost()
    assert (nothing.forwards_per_image, nothing.peak_memory_bytes) == (0, None)


def test_shares_and_traces_weigh_a_shard_by_its_images_and_a_short_trace_stands_still():
    measured = gather(ROW, SHARDS, 4)
    assert measured.zero_gradients() == pytest.approx((1.0 + 3 * 0.2) / 4)
    assert measured.trace() == pytest.approx((1.0, 1.5 / 4, 0.75 / 4))
    assert measured.warnings() == ("a", "b")
    assert gather(ROW, [], 2).trace() == ()
    assert gather(ROW, [], 2).zero_gradients() == 0.0


def test_outcomes_stand_in_the_order_of_images_whatever_the_order_of_shards():
    measured = gather(ROW, SHARDS[::-1], 4)
    assert measured.outcomes(Rule.VOTE) == [RIGHT, RIGHT, WRONG, RIGHT]
    assert measured.gap == ""


@pytest.mark.parametrize(
    ("shards", "n", "gap"),
    [
        ([SHARDS[0]], 4, "images 1 to 4 are missing"),
        ([SHARDS[1]], 4, "images 0 to 1 are missing"),
        ([failed(0, 1), SHARDS[1]], 4, "images 0 to 1 failed: boom"),
        ([failed(0, 1), SHARDS[1]], 5, "images 0 to 1 failed: boom (and 1 more such gaps)"),
    ],
)
def test_what_failed_or_is_missing_is_a_gap(shards, n, gap):
    measured = gather(ROW, shards, n)
    assert measured.gap == gap
    assert measured.outcomes(Rule.SINGLE).count(None) > 0


@pytest.mark.parametrize(
    ("shards", "n"),
    [
        ([SHARDS[0], shard(0, RIGHT)], 4),
        ([shard(0, RIGHT, RIGHT), shard(1, RIGHT)], 4),
        ([SHARDS[1]], 3),
        ([replace(SHARDS[0], job="other")], 4),
    ],
)
def test_shards_that_overlap_go_too_far_or_are_another_jobs_are_refused(shards, n):
    with pytest.raises(ValueError, match="does not fit"):
        gather(ROW, shards, n)


def test_the_first_images_are_cut_out_of_shards():
    assert [(part.start, part.stop) for part in cut(SHARDS, 2)] == [(0, 1), (1, 2)]
    assert [(part.start, part.stop) for part in cut(SHARDS, 1)] == [(0, 1)]
    assert [(part.start, part.stop) for part in cut(SHARDS, 9)] == [(0, 1), (1, 4)]


def test_each_image_is_chosen_by_its_rate_then_its_margin_and_a_tie_stays_with_the_first_row():
    less = Outcome(1.0, 1.0, "1")
    rows = [
        gather(ROW, [shard(0, *outcomes)], 3) for outcomes in ((RIGHT,) * 3, (RIGHT, WRONG, less))
    ]
    candidates = list(zip(("clean", "attack"), (row.scores() for row in rows), strict=True))
    found = choose(candidates, Rule.SINGLE, 3)
    assert found.rows == ("clean", "attack", "attack")
    assert found.bits == ("1", "0", "1")
    assert [outcome.margin for outcome in found.outcomes] == [3.0, -2.0, 1.0]
    with pytest.raises(ValueError, match="image 1 has no outcome"):
        choose([("one", gather(ROW, [shard(0, RIGHT)], 2).scores())], Rule.SINGLE, 2)


def test_a_rate_has_wilsons_interval_for_single_outcomes_and_the_bootstraps_for_many():
    one = rate_of(["1", "0", "1", "1"])
    assert (one.value, one.low, one.high) == pytest.approx((0.75, *wilson(3, 4)))
    many = rate_of(["10", "11", "01", "1"])
    assert (many.value, many.low, many.high) == pytest.approx((0.75, *bootstrap([0.5, 1, 0.5, 1])))


def test_a_mean_rate_weighs_images_alike_however_many_draws_they_have():
    assert mean_rate(["1", "0000", "10"]) == pytest.approx((1 + 0 + 0.5) / 3)


def test_a_kept_margin_is_finite_and_has_five_digits():
    assert kept_margin(0.123456789) == 0.12346
    assert (kept_margin(math.inf), kept_margin(-math.inf)) == (1e9, -1e9)
    assert math.copysign(1, kept_margin(-1e-9)) == 1.0


def test_a_rate_lies_in_its_interval_and_is_the_mean_of_its_outcomes():
    rate = Rate(value=0.5, low=0.5, high=0.5)
    refuse_other_mean("clean", rate, ["1", "0"])
    refuse_other_mean("clean", None, [])
    refuse_other_mean("clean", Rate(value=0.5 + 5e-10, low=0, high=1), ["1", "0"])
    for value in (0.5 + 2e-9, 0.5 - 2e-9, 0.75):
        with pytest.raises(ValueError, match="not the mean of its outcomes"):
            refuse_other_mean("clean", Rate(value=value, low=0, high=1), ["1", "0"])
    for wrong in ((rate, []), (None, ["1", "0"])):
        with pytest.raises(ValueError, match="come together or not at all"):
            refuse_other_mean("clean", *wrong)
    for low, high in ((0.6, 0.7), (0.1, 0.4)):
        with pytest.raises(ValueError, match="outside its interval"):
            Rate(value=0.5, low=low, high=high)


def test_a_verdict_is_raised_above_its_threshold_and_not_at_it():
    found = [raised_above(value, 2.0, "") for value in (2.0, 2.0 + 5e-10, 2.0 + 3e-9)]
    assert [flag_of("x", each).verdict for each in found] == ["ok", "ok", "raised"]
    assert points(0.75, 0.5) == 25.0
    assert points(0.1 + 0.2, 0.3) == 0.0  # not a rounding error


def test_the_finest_change_is_two_points_one_image_or_two_standard_errors_of_a_random_victim():
    fixed, random = toy("a"), toy("b", is_stochastic=True)
    assert resolution(fixed, 1000) == 2.0
    assert resolution(fixed, 20) == 5.0
    assert random.criterion.draws == 4
    assert resolution(random, 25) == pytest.approx(100 * 2 * math.sqrt(2 * 0.25 / (25 * 4)))
    assert resolution(random, 10**6) == 2.0
