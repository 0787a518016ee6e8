"""Losses of attacks against their closed forms, by hand, on logits whose order is known."""

import math

import pytest
import torch

from benchmark.engine.attacking.losses import (
    CLASSES_NEEDED,
    LOSSES,
    capped_margin,
    classes_for,
    dlr,
    margin,
    probability_margin,
    refuse_loss,
    targeted_dlr,
)
from benchmark.errors import BenchError

LOGITS = torch.tensor(
    [[5.0, 1.0, 3.0, 0.5, -2.0], [0.0, 7.0, 4.0, 6.5, 1.0], [2.0, 2.5, -1.0, 9.0, 3.0]],
    dtype=torch.float64,
)
Y = torch.tensor([0, 2, 3])  # the first and the last are right


def test_the_margin_is_the_best_other_logit_minus_the_true_one():
    assert margin(LOGITS, Y).tolist() == [3.0 - 5.0, 7.0 - 4.0, 3.0 - 9.0]
    assert capped_margin(LOGITS, Y, cap=-3.0).tolist() == [-3.0, -3.0, -6.0]
    assert LOSSES["margin"] is margin


def test_cross_entropy_is_minus_the_logarithm_of_the_true_share():
    expected = [
        -math.log(math.exp(row[y]) / sum(map(math.exp, row)))
        for row, y in zip(LOGITS.tolist(), Y, strict=True)
    ]
    assert LOSSES["ce"](LOGITS, Y).tolist() == pytest.approx(expected)


def test_the_probability_margin_is_the_best_other_share_minus_the_true_one():
    shares = LOGITS.softmax(1)
    expected = [
        shares[0, 2] - shares[0, 0],
        shares[1, 1] - shares[1, 2],
        shares[2, 4] - shares[2, 3],
    ]
    assert LOSSES["pm"](LOGITS, Y).tolist() == pytest.approx([float(value) for value in expected])
    assert LOSSES["pm"] is probability_margin


@pytest.mark.parametrize("gap", [0.3, -2.0, 30.0, 80.0])
def test_the_probability_margins_slope_is_that_of_its_formula_even_where_the_true_share_rounds_to_1(
    gap,
):
    """Of two classes it is tanh(-gap / 2), whose slope is -1 / (2 cosh(gap / 2)^2), in float32 as well."""
    logits = torch.tensor([[gap, 0.0]], requires_grad=True)
    (slope,) = torch.autograd.grad(probability_margin(logits, torch.tensor([0])).sum(), logits)
    exact = 0.5 / math.cosh(gap / 2) ** 2
    assert slope.tolist()[0] == pytest.approx([-exact, exact], rel=1e-5)


def test_the_probability_margins_slopes_are_its_finite_differences():
    for i, j in ((i, j) for i in range(3) for j in range(5)):
        step = torch.zeros_like(LOGITS)
        step[i, j] = 1e-6
        leaf = LOGITS.clone().requires_grad_()
        (slope,) = torch.autograd.grad(probability_margin(leaf, Y)[i], leaf)
        ahead, behind = (probability_margin(LOGITS + sign * step, Y)[i] for sign in (1, -1))
        assert float(slope[i, j]) == pytest.approx(float(ahead - behind) / 2e-6, abs=1e-9)


def test_the_probability_margin_is_blind_where_the_margin_is_not_once_the_true_logit_is_far_ahead():
    logits = torch.tensor([[120.0, 0.0, 1.0]], requires_grad=True)
    for loss, is_blind in ((probability_margin, True), (margin, False)):
        (slope,) = torch.autograd.grad(loss(logits, torch.tensor([0])).sum(), logits)
        assert (not slope.any()) == is_blind


def test_dlr_is_the_margin_over_the_distance_of_the_first_logit_to_the_third():
    expected = [(3 - 5) / (5 - 1), (7 - 4) / (7 - 4), (3 - 9) / (9 - 2.5)]
    assert dlr(LOGITS, Y).tolist() == pytest.approx(expected)


def test_targeted_dlr_is_taken_over_the_distance_of_the_first_logit_to_the_mean_of_third_and_fourth():
    goals = torch.tensor([3, 0, 1])
    expected = [(0.5 - 5) / (5 - 0.75), (0 - 4) / (7 - 2.5), (2.5 - 9) / (9 - 2.25)]
    assert targeted_dlr(LOGITS, Y, goals).tolist() == pytest.approx(expected)


@pytest.mark.parametrize("goals", [None, torch.zeros(1, dtype=torch.int64)])
def test_where_all_logits_agree_to_1e_12_the_denominator_is_kept_off_zero_by_as_much(goals):
    logits = torch.tensor([[1e-12, 0.0, 0.0, 0.0]], dtype=torch.float64)
    y = torch.ones(1, dtype=torch.int64)
    found = dlr(logits, y) if goals is None else targeted_dlr(logits, y, goals)
    assert found.item() == pytest.approx(0.5)  # 1e-12 / (1e-12 + 1e-12)


def test_a_loss_is_refused_below_the_classes_that_its_formula_names():
    """DLR looks at the third logit, targeted DLR at the fourth, the others at two."""
    needed = {"ce": 2, "margin": 2, "pm": 2, "dlr": 3, "dlr-targeted": 4}
    assert needed == CLASSES_NEEDED
    for loss, classes in needed.items():
        assert classes_for(loss) == classes
        refuse_loss("apgd", loss, known=tuple(needed), classes=classes)
        with pytest.raises(BenchError, match=f"needs at least {classes} classes"):
            refuse_loss("apgd", loss, known=tuple(needed), classes=classes - 1)
    assert classes_for("nobody's") == 2


def test_a_loss_that_an_attack_does_not_know_is_refused():
    with pytest.raises(BenchError, match="knows the losses ce, dlr; got 'margin'"):
        refuse_loss("apgd", "margin", known=("ce", "dlr"), classes=10)
