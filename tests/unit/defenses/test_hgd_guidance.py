"""What guides HGD, by closed forms: where images are compared, and the loss there."""

import math

import pytest
import torch

from defenses.hgd.guidance import Guidance, distance, guidance_of
from defenses.hgd.presets import Guide
from tests.helpers.small_hgd import setting

A = torch.tensor([[[[0.0, 1.0], [0.25, 0.5]]], [[[1.0, 1.0], [0.5, 0.5]]]])
B = torch.tensor([[[[1.0, 0.0], [0.25, 0.0]]], [[[1.0, 1.0], [0.5, 0.25]]]])


class Tapped:
    """A classifier whose logits are the two means of columns and whose map is three times the image."""

    def features(self, x, names):
        return self(x), dict.fromkeys(names, 3 * x)

    def __call__(self, x):
        return x.mean((1, 2))


def test_the_distance_is_the_mean_absolute_difference_of_each_image():
    assert distance(A, B).tolist() == [2.5 / 4, 0.25 / 4]
    assert distance(A, A).tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (torch.bfloat16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
    ],
)
def test_the_distance_is_taken_in_float32_at_least(given, found):
    assert distance(A.to(given), B.to(given)).dtype == found


def test_pixels_are_compared_from_minus_one_to_one_features_at_the_tap_and_classes_by_logits():
    wanted = {Guide.PGD: 2 * A - 1, Guide.FGD: 3 * A, Guide.CGD: A.mean((1, 2))}
    for guide, expected in wanted.items():
        torch.testing.assert_close(Guidance(guide, Tapped(), "map").representation(A), expected)


def test_pixels_and_features_are_driven_to_the_clean_ones_and_logits_to_the_label():
    y = torch.tensor([0, 1])
    for guide in (Guide.PGD, Guide.FGD):
        assert Guidance(guide, Tapped(), "map").loss(A, B, y).item() == pytest.approx(2.75 / 8)
    logits = torch.tensor([[math.log(3.0), 0.0], [0.0, 0.0]])
    loss = Guidance(Guide.CGD, Tapped(), "map").loss(logits, logits, y).item()
    assert loss == pytest.approx((math.log(4 / 3) + math.log(2)) / 2)


def test_only_features_have_a_tap_the_classifiers_last_map():
    made = setting()
    last = made.classifier.positions(made.shape)["map"].tap
    assert [guidance_of(guide, made).tap for guide in (Guide.PGD, Guide.FGD, Guide.CGD)] == [
        "",
        last,
        "",
    ]
