"""Queries of black-box attacks by closed forms: counted answers, majorities, bisection to a known boundary."""

import math

import pytest
import torch

from benchmark.engine.attacking.queries import (
    MOST_HALVINGS,
    TRIES,
    Oracle,
    find_starts,
    halvings,
    majority_labels,
    to_boundary,
)
from benchmark.engine.attacking.rim import on_the_rim
from benchmark.engine.attacking.target import Target
from benchmark.engine.randomness import Draws
from benchmark.engine.threat import Norm, Threat
from benchmark.engine.victims.classifier import Classifier
from benchmark.engine.victims.purified import Purified
from benchmark.engine.victims.victim import Victim
from tests.helpers.toy_plugins import image_draws


class Light(torch.nn.Module):
    """Class 1 where an image's first pixel is above a level, by as much as its logit leads."""

    def __init__(self, level=0.5):
        super().__init__()
        self.level = level

    def forward(self, x):
        lead = x[:, 0, 0, 0] - self.level
        return torch.stack((torch.zeros_like(lead), lead), dim=1)


class Told(Victim):
    """A random victim that answers with the classes it was told, a draw of each image after the other."""

    def __init__(self, answers, classes=3):
        super().__init__()
        self.told = list(answers)
        self.k = classes

    stochastic = True
    classifiers = ()

    def logits(self, x, *, draws, mode):
        now, self.told = self.told[: len(x)], self.told[len(x) :]
        return torch.nn.functional.one_hot(torch.tensor(now), self.k).double() * 4

    def auxiliary_loss(self, x, *, draws, mode):
        raise NotImplementedError


def light(level=0.5):
    network = Classifier(Light(level), name="light", classes=2, sha256="0" * 64)
    return Target(Purified([], network), classes=2)


def told(*answers):
    return Target(Told(answers), classes=3)


X = torch.zeros(2, 1, 2, 2, dtype=torch.float64)
Y, BOTH = torch.zeros(2, dtype=torch.int64), torch.arange(2)


def test_a_fixed_victim_is_asked_once_and_a_random_one_k_times_each_counted_for_its_image():
    fixed = Oracle(light(), Y, k=3)
    fixed.margins(X[[0, 0, 1]], torch.tensor([0, 0, 1]), image_draws(3))
    assert (fixed.spent.tolist(), fixed.target.forwards) == ([2, 1], 3)
    random = Oracle(told(*[0] * 9), Y, k=3)
    random.margins(X[[0, 0, 1]], torch.tensor([0, 0, 1]), image_draws(3))
    assert (random.spent.tolist(), random.target.forwards) == ([6, 3], 9)


def test_a_margin_is_the_mean_of_the_answers_and_an_image_is_fooled_by_more_than_half_of_them():
    answers = (0, 1, 0, 2, 1, 0)  # of labels 0 and 0: one of three wrong, two of three
    found = Oracle(told(*answers), Y, k=3).margins(X, BOTH, image_draws(2))
    assert found.tolist() == pytest.approx([(-4 - 4 + 4) / 3, (4 + 4 - 4) / 3])
    assert Oracle(told(*answers), Y, k=3).is_fooled(X, BOTH, image_draws(2)).tolist() == [
        False,
        True,
    ]
    half = Oracle(told(0, 1, 1, 2), Y, k=2).is_fooled(X, BOTH, image_draws(2))
    assert half.tolist() == [False, True]


def test_labels_are_compared_with_those_of_the_images_asked_about():
    oracle = Oracle(told(1, 1), torch.tensor([1, 0]), k=1)
    assert oracle.is_fooled(X, torch.tensor([1, 0]), image_draws(2)).tolist() == [True, False]


def test_the_class_named_most_often_is_a_victims_label_and_a_fixed_one_names_one():
    assert majority_labels(told(2, 0, 2, 1, 1, 1), X, image_draws(2), k=3).tolist() == [2, 1]
    target = light()
    assert majority_labels(target, X + 0.7, image_draws(2), k=3).tolist() == [1, 1]
    assert target.forwards == 2


@pytest.mark.parametrize(
    ("shape", "norm", "expected"),
    [
        ((1, 2, 2), Norm.LINF, 4),  # 4^-2
        ((1, 2, 2), Norm.L2, 3),  # 4^-1.5
        ((1, 4, 4), Norm.LINF, 8),
        ((1, 4, 4), Norm.L2, 6),
        ((1, 1, 1), Norm.L2, 1),
        ((3, 32, 32), Norm.LINF, MOST_HALVINGS),
        ((3, 32, 32), Norm.L2, 18),
    ],
)
def test_halvings_come_as_near_as_a_power_of_the_number_of_pixels(shape, norm, expected):
    assert halvings(shape, norm) == expected
    assert MOST_HALVINGS == 20


@pytest.mark.parametrize("norm", list(Norm))
def test_bisection_ends_on_the_wrong_side_of_the_boundary_as_near_as_it_halves(norm):
    """From 0.1 towards 0.9 the class changes at 0.37; in linf the rest is cut to the same."""
    x = torch.full((1, 1, 2, 2), 0.1, dtype=torch.float64)
    far = x + torch.tensor([0.8, 0.2, -0.1, 0.8]).double().view(1, 1, 2, 2)
    oracle = Oracle(light(0.37), Y[:1], k=1)
    found = to_boundary(oracle, x, far, BOTH[:1], image_draws(1), Threat(norm, 1.0))
    steps = halvings((1, 2, 2), norm)
    share = math.floor(0.3375 * 2**steps + 1) / 2**steps  # the least multiple above 0.27 / 0.8
    moved = [0.8 * share, 0.2 * share, -0.1 * share, 0.8 * share]
    cut = [0.8 * share, 0.2, -0.1, 0.8 * share]
    expected = torch.tensor(cut if norm is Norm.LINF else moved).double()
    torch.testing.assert_close((found - x).flatten(), expected, rtol=0, atol=1e-7)
    assert oracle.spent.item() == steps


@pytest.mark.parametrize("norm", list(Norm))
def test_what_is_misclassified_nowhere_on_the_way_stays_where_it_came(norm):
    x, far = X[:1] + 0.1, X[:1] + 0.9
    found = to_boundary(
        Oracle(light(0.8999), Y[:1], k=1), x, far, BOTH[:1], image_draws(1), Threat(norm, 1.0)
    )
    assert torch.equal(found, far)


@pytest.mark.parametrize(("norm", "eps"), [(Norm.LINF, 0.2), (Norm.L2, 0.3)])
def test_the_rim_is_as_far_as_the_budget_in_the_same_direction(norm, eps):
    x, δ = X + 0.5, torch.tensor([0.1, -0.02, 0.05, 0.0]).double().view(1, 1, 2, 2)
    threat = Threat(norm, eps)
    for scale in (0.5, 4):
        rim = on_the_rim(x, x + scale * δ, threat)
        assert threat.size(x, rim).tolist() == pytest.approx([eps, eps])
        cosine = torch.cosine_similarity((rim - x).flatten(1), δ.flatten(1).expand(2, 4))
        assert cosine.tolist() == pytest.approx([1, 1])
    assert torch.equal(on_the_rim(x, x, threat), x)


def test_a_start_is_some_misclassified_image_and_a_misclassified_one_is_its_own():
    x = torch.full((3, 1, 4, 4), 0.2, dtype=torch.float64)
    x[1] = 0.9
    y = torch.tensor([0, 0, 0])
    oracle = Oracle(light(), y, k=1)
    starts, found = find_starts(oracle, x, image_draws(3))
    assert found.all()
    assert torch.equal(starts[1], x[1])
    assert (starts[:, 0, 0, 0] > 0.5).all()
    assert oracle.spent[1] == 1
    assert (oracle.spent[[0, 2]] > 1).all()


class Seen(Victim):
    """Class 0 for every image; it keeps what it was shown."""

    stochastic = False
    classifiers = ()

    def __init__(self):
        super().__init__()
        self.shown = []

    def logits(self, x, *, draws, mode):
        self.shown.append(x)
        return torch.tensor([[1.0, 0.0]], dtype=x.dtype).repeat(len(x), 1)

    def auxiliary_loss(self, x, *, draws, mode):
        raise NotImplementedError


def test_starts_are_looked_for_on_grids_from_each_pixel_to_one_in_grey_and_then_in_black_and_white():
    victim = Seen()
    oracle = Oracle(Target(victim, classes=2), Y[:1], k=1)
    x = torch.full((1, 1, 8, 6), 0.2, dtype=torch.float64)
    starts, found = find_starts(oracle, x, Draws.of(0, torch.arange(1), "test"))
    assert not found.any()
    assert torch.equal(starts, x)
    assert oracle.spent.item() == 1 + TRIES == 61
    values = [shown.unique() for shown in victim.shown[1:]]
    sides = (6, 3, 2, 1)  # 6 halved, rounded up, until one is left
    for number, found in enumerate(values):
        assert len(found) <= sides[number % 4] ** 2
        is_grey = bool(((found > 0) & (found < 1)).any())
        assert is_grey == (number // 4 % 2 == 0)
    assert [len(found) for found in values[:4]] == [36, 9, 4, 1]
