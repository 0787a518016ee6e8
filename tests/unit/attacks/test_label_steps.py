"""Steps of walks by labels alone: each against geometry, on victims whose boundary is known."""

import itertools
import math
from types import SimpleNamespace

import pytest
import torch

from attacks.boundary import Boundary, _length, _Record
from attacks.boundary import _Walk as BoundaryWalk
from attacks.hopskipjump import HopSkipJump
from attacks.hopskipjump import _Walk as HopWalk
from benchmark.engine.attacking.queries import halvings
from benchmark.engine.attacking.target import Target
from benchmark.engine.threat import Norm, Threat
from benchmark.engine.victims.classifier import Classifier
from benchmark.engine.victims.purified import Purified
from benchmark.errors import BenchError
from tests.helpers.toy_plugins import Noise, image_draws

LEVEL = 0.45
L2, LINF = Threat(Norm.L2, 0.3), Threat(Norm.LINF, 0.1)


class Left(torch.nn.Module):
    """Class 1 where the mean of an image's left half is above a level."""

    def forward(self, x):
        lead = x[..., : x.shape[3] // 2].flatten(1).mean(1) - LEVEL
        return torch.stack((torch.zeros_like(lead), 100 * lead), dim=1)


def target(*defenses, **options):
    network = Classifier(Left(), name="left", classes=2, sha256="0" * 64)
    return Target(Purified(defenses, network), classes=2, **options)


X = torch.full((3, 1, 4, 4), 0.4, dtype=torch.float64)
X[1] = 0.6  # misclassified as it is
Y = torch.zeros(3, dtype=torch.int64)
EXACT = {Norm.L2: 0.05 * math.sqrt(8), Norm.LINF: 0.05}
"""How far the boundary is from an image of .4: every pixel of the left half must rise by .05."""


def boundary_walk(threat=L2, made=None, attack=None):
    made = made or target()
    return BoundaryWalk(
        made, X, Y, threat=threat, draws=image_draws(3), attack=attack or Boundary(draws=3)
    )


def hop_walk(threat=L2, made=None, k=3):
    return HopWalk(made or target(), X, Y, threat=threat, draws=image_draws(3), k=k)


@pytest.mark.parametrize("walk", [boundary_walk, hop_walk])
@pytest.mark.parametrize("threat", [L2, LINF], ids=str)
def test_a_walk_begins_at_the_boundary_and_without_what_is_misclassified_already(walk, threat):
    made = walk(threat)
    assert made.which.tolist() == [0, 2]
    assert torch.equal(made.x_adv[1], X[1])
    assert torch.equal(made.best, made.x_adv)
    assert not made.target.warnings
    means = made.x_adv[[0, 2], ..., :2].flatten(1).mean(1)
    assert (means > LEVEL).all()
    reach = (made.x_adv - X)[[0, 2]].abs().flatten(1).amax(1)
    assert ((means - LEVEL) <= reach / 2 ** (halvings((1, 4, 4), threat.norm) - 2)).all()


@pytest.mark.parametrize("walk", [boundary_walk, hop_walk])
def test_where_no_start_is_found_it_is_said_and_the_image_stays(walk):
    class Never(torch.nn.Module):
        def forward(self, x):
            return torch.tensor([[1.0, 0.0]], dtype=x.dtype).repeat(len(x), 1)

    network = Classifier(Never(), name="never", classes=2, sha256="0" * 64)
    made = walk(made=Target(Purified([], network), classes=2))
    assert made.which.tolist() == []
    assert made.target.warnings == ["some images found no misclassified starting point"]
    assert torch.equal(made.x_adv, X)


def test_a_length_is_that_of_each_images_change():
    δ = torch.zeros(2, 1, 2, 2)
    δ[0, 0, 0], δ[1, 0, 1, 1] = torch.tensor([3.0, 4.0]), 2.0
    assert _length(δ).shape == (2, 1, 1, 1)
    assert _length(δ).flatten().tolist() == [5.0, 2.0]


def test_a_record_looks_back_on_its_last_outcomes_and_begins_anew_where_it_is_told():
    record = _Record(X, 3)
    both = torch.arange(2)
    for outcome in ([True, False], [False, False]):
        record.add(both, torch.tensor(outcome))
    assert record.rates()[1].tolist() == [False, False, False]
    record.add(both, torch.tensor([True, False]))
    rate, is_full = record.rates()
    assert rate.tolist() == pytest.approx([2 / 3, 0, 0])
    assert is_full.tolist() == [True, True, False]
    record.add(both, torch.tensor([False, True]))  # in the place of the first
    assert record.rates()[0].tolist() == pytest.approx([1 / 3, 1 / 3, 0])
    record.forget(torch.tensor([True, False, False]))
    assert record.rates()[1].tolist() == [False, True, False]


@pytest.mark.parametrize("sideways", [0.01, 0.5])
def test_a_sideways_step_stays_on_the_sphere_and_the_next_leads_towards_the_image(sideways):
    walk = boundary_walk(attack=Boundary(sideways=sideways, towards=0.1))
    x = torch.full((2, 1, 4, 4), 0.5, dtype=torch.float64)
    here = x + 0.02
    here[1, 0, 0, 0] -= 0.03
    aside, nearer = walk._proposals(x, here, image_draws(2))
    distance = _length(here - x)
    torch.testing.assert_close(_length(aside - x), distance)
    moved = (aside - here).flatten(1).norm(dim=1) / distance.flatten()
    expected = math.sqrt(2 - 2 / math.sqrt(1 + sideways**2))  # an arc of tangent `sideways`
    torch.testing.assert_close(moved, torch.full_like(moved, expected))
    torch.testing.assert_close(_length(nearer - x), 0.9 * distance)
    cosine = torch.cosine_similarity((aside - x).flatten(1), (nearer - x).flatten(1))
    torch.testing.assert_close(cosine, torch.ones_like(cosine))


def test_what_clipping_took_away_is_no_step_towards_the_image():
    """The image is black and the walk near it: half of what is proposed is clipped, and nothing is added."""
    walk = boundary_walk(attack=Boundary(sideways=2.0, towards=1e-6))
    x = torch.zeros(2, 1, 4, 4, dtype=torch.float64)
    aside, nearer = walk._proposals(x, x + 0.02, image_draws(2))
    assert (_length(aside - x) < 0.95 * 0.02 * 4).all()
    assert torch.equal(aside, nearer)


def test_a_step_is_kept_where_it_is_misclassified_and_nearer():
    walk = boundary_walk()
    sizes = [L2.size(X, walk.x_adv)]
    for step in range(1, 60):
        walk.step(step)
        assert (walk.x_adv[[0, 2], ..., :2].flatten(1).mean(1) > LEVEL).all()
        sizes.append(L2.size(X, walk.x_adv))
    assert all((b <= a).all() for a, b in itertools.pairwise(sizes))
    assert (sizes[-1][[0, 2]] < 0.97 * sizes[0][[0, 2]]).all()
    assert (sizes[-1][[0, 2]] > EXACT[Norm.L2]).all()
    assert torch.equal(walk.best, walk.x_adv)
    assert walk.oracle.spent[0] == walk.oracle.spent[2] - (
        boundary_walk().oracle.spent[2] - boundary_walk().oracle.spent[0]
    )


def test_an_image_leaves_within_eps_where_it_may_and_counts_only_there():
    walk = boundary_walk(Threat(Norm.L2, 0.1), made=target(leaves_early=True))
    assert walk.inside.tolist() == [False, True, False]
    walk.mark()
    assert walk.target.trace == pytest.approx([2 / 3])
    walk.best[0] = X[0] + 0.01
    walk.let_go()
    assert walk.which.tolist() == [2]
    walk.towards[2] = 0.9e-7
    walk.let_go()
    assert walk.which.tolist() == []
    stays = boundary_walk(Threat(Norm.L2, 0.1))
    stays.best[0] = X[0] + 0.01
    stays.towards[2] = 1e-7
    stays.let_go()
    assert stays.which.tolist() == [0, 2]


@pytest.mark.parametrize(
    ("successes", "factors"),
    [
        ((60, 6), (1.5, 1.5)),
        ((50, 6), (1, 1)),
        ((20, 3), (1, 1)),
        ((19, 6), (1 / 1.5, 1 / 1.5)),
        ((30, 8), (1, 1.5)),
        ((30, 7), (1, 1)),
        ((30, 2), (1, 1 / 1.5)),
        ((60, 9), (1.5, 1.5**2)),
    ],
)
def test_steps_that_succeed_often_grow_and_those_that_seldom_do_shrink(successes, factors):
    """Above 1/2 or below 1/5 of 100 both lengths change; above 1/4 or below 1/10 of 30 whole ones, one does."""
    walk = boundary_walk(attack=Boundary(sideways=0.01, towards=0.02))
    for record, n, right in zip((walk._sideways, walk._whole), (100, 30), successes, strict=True):
        for i in range(n):
            assert not record.rates()[1][0]
            record.add(torch.tensor([0]), torch.tensor([i < right]))
    walk._adapt()
    assert walk.sideways.tolist() == pytest.approx([0.01 * factors[0], 0.01, 0.01])
    assert walk.towards.tolist() == pytest.approx([0.02 * factors[1], 0.02, 0.02])
    is_changed = [factors[0] != 1, factors[1] != factors[0]]
    assert [not record.rates()[1][0] for record in (walk._sideways, walk._whole)] == is_changed


def test_a_random_victims_image_moves_away_where_fresh_draws_find_it_right():
    walk = boundary_walk(made=target(Noise(sigma=0.001)))
    walk.x_adv[:] = X + 0.02  # right at every draw
    walk.x_adv[2] = X[2] + 0.1  # wrong at every draw
    walk._withdraw(image_draws(3).take(walk.which))
    towards = Boundary().towards
    torch.testing.assert_close(walk.x_adv[0], X[0] + 0.02 * (1 + 2 * towards))
    torch.testing.assert_close(walk.x_adv[2], X[2] + 0.1)


def test_the_estimated_direction_leads_across_the_boundary():
    """Its gradient is even over the left half and nothing elsewhere; labels around tell it."""
    for threat in (L2, LINF):
        walk = hop_walk(threat)
        direction = walk._direction(0, 400)
        g = torch.zeros_like(direction)
        g[..., :2] = 1
        cosine = torch.cosine_similarity(direction.flatten(1), g.flatten(1))
        assert (cosine > 0.85).all()


def test_where_all_labels_are_alike_the_direction_is_their_mean_turned_by_the_label():
    walk = hop_walk()
    walk.x_adv[:] = 0.05  # far on the right side
    right = walk._direction(0, 50)
    walk.x_adv[:] = 0.95
    wrong = walk._direction(0, 50)
    torch.testing.assert_close(right, -wrong, rtol=0, atol=0.02)
    assert (right.flatten(1).norm(dim=1) > 0.05).all()


def test_labels_are_asked_for_around_at_a_radius_that_the_distance_sets():
    """d = 16 pixels: first .1; then size / d, and from 1/255 in each pixel up to half of the distance."""
    walk = hop_walk()
    far, near = X[walk.which] + 0.1, X[walk.which] + 1e-4
    assert walk._radius(far, 0).flatten().tolist() == pytest.approx([0.1, 0.1])
    assert walk._radius(far, 1).flatten().tolist() == pytest.approx([max(0.4 / 16, 4 / 255)] * 2)
    assert walk._radius(near, 1).flatten().tolist() == pytest.approx([0.5 * 4e-4] * 2)
    linf = hop_walk(LINF)
    assert linf._radius(far, 1).flatten().tolist() == pytest.approx([max(0.1 / 16, 4 / 255)] * 2)
    random = hop_walk(made=target(Noise(sigma=0.001)))
    for step in (0, 3):
        assert random._radius(far, step).flatten().tolist() == pytest.approx([0.5 * 0.4] * 2)


def test_directions_asked_for_have_length_1_normal_in_l2_and_uniform_in_linf():
    rows = image_draws(2000)
    kurtosis = {}
    for threat in (L2, LINF):
        u = hop_walk(threat)._noise(rows, (1, 4, 4), torch.float64).flatten(1)
        torch.testing.assert_close(u.norm(dim=1), torch.ones(2000, dtype=torch.float64))
        assert u.mean(0).abs().max() < 0.03
        kurtosis[threat.norm] = float((u**4).mean() / (u**2).mean() ** 2)
    assert kurtosis[Norm.L2] == pytest.approx(3 * 16 / 18, abs=0.1)  # of a unit normal direction
    assert kurtosis[Norm.LINF] < 2


@pytest.mark.parametrize("norm", list(Norm))
def test_hopskipjump_comes_near_the_exact_distance_and_spends_no_more_than_its_queries(norm):
    made, threat = target(), Threat(norm, 10.0 if norm is Norm.L2 else 1.0)
    found = HopSkipJump(queries=700, first=20)(made, X, Y, threat=threat, draws=image_draws(3))
    size = threat.size(X, found[:, 0])
    assert size[1] == 0
    assert (size[[0, 2]] >= EXACT[norm]).all()
    assert (size[[0, 2]] < 1.35 * EXACT[norm]).all()
    assert 600 < made.forwards / 2 <= 701


def test_hopskipjump_lets_images_leave_by_their_queries_or_within_eps():
    walk = hop_walk(Threat(Norm.L2, 0.1), made=target(leaves_early=True))
    spent = walk.oracle.spent
    spent[0], spent[2] = 50, 60
    walk.let_go(60)
    assert (walk.which.tolist(), walk.target.trace) == ([0, 2], pytest.approx([2 / 3]))
    walk.let_go(59)
    assert walk.which.tolist() == [0]
    walk.best[0] = X[0] + 0.01
    walk.let_go(59)
    assert walk.which.tolist() == []


def test_what_labels_cost_is_said_for_fixed_and_random_victims():
    """A start of 61 looks, 8 or 6 halvings, a label a step (two of a random victim) and each tenth another."""
    shape = {"classes": 2, "eot": 1, "shape": (1, 4, 4)}
    fixed = Boundary(steps=25, draws=3).passes(stochastic=False, **shape)
    assert (fixed.forwards, fixed.backwards, fixed.candidates) == (61 + 8 + 25 + 2, 0, 1)
    random = Boundary(steps=25, draws=3).passes(stochastic=True, **shape)
    assert (random.forwards, random.backwards, random.candidates) == (3 * (61 + 8 + 50 + 2), 0, 2)
    hop = HopSkipJump(queries=99).passes(stochastic=True, **shape)
    assert (hop.forwards, hop.backwards, hop.candidates) == (99, 0, 2)
    assert HopSkipJump(queries=99).passes(stochastic=False, **shape).candidates == 1
    with pytest.raises(BenchError, match="207 queries"):  # 3 draws x (1 + 60 + 8)
        HopSkipJump(queries=206, draws=3)(target(Noise()), X, Y, threat=LINF, draws=image_draws(3))


def test_an_image_exactly_as_far_away_as_the_budget_is_inside():
    x = torch.zeros(2, 1, 4, 4)
    best = x + torch.tensor([0.25, 0.25 + 1e-6]).view(2, 1, 1, 1)
    walk = SimpleNamespace(
        fooled=torch.tensor([True, True]), threat=Threat(Norm.LINF, 0.25), x=x, best=best
    )
    assert BoundaryWalk.inside.fget(walk).tolist() == [True, False]
