"""Comparisons at their bounds: what must be the same, when a change is decided, and how many images decide."""

from __future__ import annotations

import pytest

from benchmark.engine.criterion import Outcome
from benchmark.errors import BenchError
from benchmark.publishing.leaderboard.comparison import Conclusion, Difference, Held, compare
from tests.helpers.run_builder import Run


def fixed(worst, *, label="toy", margin=0.0, **fields):
    """A deterministic entry of which these images stand up to PGD; all are right when clean."""
    clean = [Outcome(1.0, 3.0, "1")] * len(worst)
    pgd = [Outcome(float(bit), margin + (0.5 if bit == "1" else -0.5), bit) for bit in worst]
    return Run(rows={"clean": clean, "pgd": pgd}, label=label, **fields).entry()


@pytest.mark.parametrize(
    ("part", "changes", "reason"),
    [
        ("dataset", {"split": "train"}, "another split: test and train"),
        ("dataset", {"order": "first"}, "another order of images"),
        ("dataset", {"pixels_sha256": "9" * 64}, "another pixels"),
        ("threat", {"input_shape": (3, 8, 8)}, "another image shape"),
        ("protocol", {"sha256": "9" * 64}, "another protocol content"),
        ("classifier", {"sha256": "9" * 64}, "another classifier weights"),
        ("per_image", {"indices": (1, 2, 3, 4)}, "another set of images"),
        ("per_image", {"labels": (9, 9, 9, 9)}, "another labels"),
    ],
)
def test_each_part_of_an_evaluation_must_be_the_same(part, changes, reason):
    base = fixed("1100")
    other = base.model_copy(update={part: getattr(base, part).model_copy(update=changes)})
    with pytest.raises(BenchError, match=f"cannot be compared: they are of {reason}"):
        compare(base, other)
    with pytest.raises(BenchError, match="cannot be compared"):
        compare(other, base)


def change(low, high, *, base=0.5, candidate=0.5, n=100, lost=(1,), gained=()):
    return Difference(
        name="worst case",
        base=base,
        candidate=candidate,
        low=low,
        high=high,
        p=1.0,
        lost=lost,
        gained=gained,
        n=n,
    )


def test_a_change_is_held_or_has_fallen_strictly_beyond_the_tolerance():
    assert change(-0.05, 0.1).verdict(0.05) is Conclusion.OPEN
    assert change(-0.0499, 0.1).verdict(0.05) is Conclusion.HELD
    assert change(-0.2, -0.05).verdict(0.05) is Conclusion.OPEN
    assert change(-0.2, -0.0501).verdict(0.05) is Conclusion.FELL
    assert change(-0.1, 0.1, base=0.5, candidate=0.25).value == -0.25


def test_images_that_would_decide_grow_with_the_square_of_how_near_a_bound_must_come():
    """A bound .1 below a change of -.01 and a tolerance of .05, .04 away: (.1 / .04)^2 = 6.25 times as many."""
    some = change(-0.11, 0.05, base=0.5, candidate=0.49)
    assert some.deciding_n(0.05) == 626
    falls = change(-0.2, 0.0, base=0.5, candidate=0.4)  # .1 above a change of -.1, .05 beyond
    assert falls.deciding_n(0.05) == 401
    assert change(-0.01, 0.01).deciding_n(0.5) == 101  # fewer would do, and one more is asked for


@pytest.mark.parametrize(("distance", "expected"), [(0.0016, 9_765_625), (0.0015, None)])
def test_more_than_ten_million_images_are_no_advice(distance, expected):
    """A bound .5 away from a change that lies so near the tolerance: 100 (.5 / distance)^2 images."""
    value = -0.05 + distance
    near = change(value - 0.5, value + 0.5, base=0.5, candidate=0.5 + value)
    assert near.deciding_n(0.05) == (expected and pytest.approx(expected, rel=1e-6))
    assert change(-0.5, 0.5, n=100).deciding_n(1e-4) is None  # 2.5 billion
    assert change(-0.11, 0.05, base=0.5, candidate=0.45).deciding_n(0.05) is None


def test_where_no_image_differs_the_bound_nears_nothing_with_the_number_itself():
    """It is z^2 / (n + z^2): with z^2 = 25 at n = 100 it is .2, and below .1 from n = 226 on."""
    same = change(-0.2, 0.2, lost=())
    assert same.deciding_n(0.1) == 226
    assert same.deciding_n(0.0) is None
    assert change(-0.2, 0.2, lost=(1,)).deciding_n(0.1) == 401
    assert change(-0.2, 0.2, lost=(), gained=(1,)).deciding_n(0.1) == 401


def test_lost_and_gained_images_are_named_by_their_index():
    found = compare(fixed("1010"), fixed("0011", label="new")).worst
    assert (found.lost, found.gained, found.n) == ((100,), (103,), 4)
    assert (found.base, found.candidate) == (0.5, 0.5)


def test_margins_may_lie_apart_by_a_ten_thousandth():
    held = [
        compare(fixed("11"), fixed("11", label="new", margin=apart)).unchanged
        for apart in (1e-4, 1.1e-4, -1e-4, -1.1e-4)
    ]
    assert held == [Held.SAME_OUTCOMES, None, Held.SAME_OUTCOMES, None]
