"""Local search against truth: on a linear victim the best pixels have a closed form."""

import pytest
import torch

from attacks.local_search import LocalSearch, _Walk
from benchmark.engine.attacking.search import Search
from benchmark.engine.threat import Threat
from benchmark.selftest.closed_forms import LOGIT_GAP, LinearTask, fooled_by_any
from benchmark.selftest.set_cases import best_pixels_gain
from tests.helpers.toy_plugins import Noise, image_draws, linear_target, nonlinear_target

TASK = LinearTask.make(n=8, shape=(1, 6, 6))


def sure(pixels):
    """Which points any change of so many pixels can fool: the sum of the greatest gains of black or white."""
    return best_pixels_gain(TASK.extremes(), pixels) > LOGIT_GAP


def fooled(attack, pixels, target=None):
    target, threat = target or linear_target(TASK), Threat.parse(f"pixels:{pixels}")
    x_adv = attack(target, TASK.x, TASK.y, threat=threat, draws=image_draws(8))
    assert (threat.size(TASK.x, x_adv[:, 0]) <= pixels).all()
    return fooled_by_any(target.victim, x_adv, TASK.y, target)


@pytest.mark.parametrize("t", [1, 5])
@pytest.mark.parametrize("pixels", range(1, 7))
def test_black_and_white_fool_exactly_where_the_best_pixels_do(pixels, t):
    attack = LocalSearch(rounds=6, t=t, d=6, start=1.0, change="extremes")
    assert fooled(attack, pixels).tolist() == sure(pixels).tolist()


def test_the_numbers_of_pixels_of_that_test_reach_from_no_image_to_all():
    assert not sure(1).any()
    assert sure(6).all()


@pytest.mark.parametrize("pixels", [2, 5, 9])
def test_the_papers_change_never_fools_what_no_change_can(pixels):
    found = fooled(LocalSearch(rounds=30), pixels)
    assert not (found & ~sure(pixels)).any()


def test_the_papers_change_fools_most_with_some_pixels_more_and_many_rounds():
    """The points lie so that growing any pixel helps their class: only what wraps around harms it."""
    assert int(fooled(LocalSearch(rounds=150), 12).sum()) >= 6


def test_a_change_grows_about_the_middle_grey_and_wraps_around():
    now = torch.tensor([0.0, 0.1, 0.5, 0.6, 0.9, 1.0], dtype=torch.float64).view(1, 6, 1)
    (changed,) = LocalSearch()._options(now)
    expected = [0.75, 0.9, 0.5, 0.65, 0.1, 0.25]  # 0.5 + 1.5 * (v - 0.5), one up or down
    assert changed.flatten().tolist() == pytest.approx(expected)


def test_a_neighbourhood_is_a_square_cut_off_at_the_border():
    hit = torch.zeros(1, 36, dtype=torch.bool)
    hit[0, 7] = True  # row 1, column 1
    around = LocalSearch(d=2)._around(hit, 6, 6).view(6, 6)
    expected = torch.zeros(6, 6, dtype=torch.bool)
    expected[:4, :4] = True
    assert torch.equal(around, expected)


def test_it_goes_on_near_what_it_changed_last():
    """Only the pixels of one corner matter: from it the search does not stray."""
    target, x, y = nonlinear_target()
    attack = LocalSearch(rounds=3, d=1, t=1, start=1 / 16)
    x_adv = attack(target, x, y, threat=Threat.parse("pixels:3"), draws=image_draws(len(x)))[:, 0]
    for places in (x_adv != x).any(1):
        rows, columns = places.nonzero(as_tuple=True)
        if len(rows):
            assert int(rows.max() - rows.min()) <= 2
            assert int(columns.max() - columns.min()) <= 2


def test_no_gradient_is_asked_for_and_every_query_is_counted():
    target = linear_target(TASK)
    seen = []
    inner = target.logits
    target.logits = lambda x, *, draws: seen.append(len(x)) or inner(x, draws=draws)
    fooled(LocalSearch(rounds=3), 4, target)
    assert target.backwards == 0
    assert target.forwards == sum(seen)


def test_of_a_random_victim_the_best_image_and_the_last_are_candidates():
    target = linear_target(TASK, Noise(), eot=2)
    threat = Threat.parse("pixels:4")
    x_adv = LocalSearch(rounds=2)(target, TASK.x, TASK.y, threat=threat, draws=image_draws(8))
    assert x_adv.shape == (8, 2, 1, 6, 6)


def clean_search():
    target, draws = linear_target(TASK), image_draws(8)
    return Search(target, TASK.x, TASK.y, draws=draws, puts_success_first=True)


@pytest.mark.parametrize(("gap", "begins_anew"), [(1.0, False), (0.0, True), (-1.0, True)])
def test_it_begins_anew_where_all_is_spent_and_nothing_rose_for_twenty_rounds(gap, begins_anew):
    search = clean_search()
    changed = TASK.x.clone()
    changed[:, 0, 0, 0] = 1 - changed[:, 0, 0, 0]
    zeros = TASK.x.new_zeros(8)
    walk = _Walk(changed, torch.zeros(8, 36, dtype=torch.bool), zeros, zeros + 19)
    after = LocalSearch()._begun_anew(search, walk, zeros + gap, 1, 20)
    assert torch.equal(after.x_adv, TASK.x if begins_anew else changed)
    assert bool(after.near.any()) == begins_anew
    assert after.since.tolist() == [0.0] * 8
    assert after.highest.tolist() == [-torch.inf if begins_anew else gap] * 8


def test_where_pixels_are_left_it_goes_on_however_long_nothing_rose():
    search = clean_search()
    zeros = TASK.x.new_zeros(8)
    walk = _Walk(TASK.x, torch.zeros(8, 36, dtype=torch.bool), zeros, zeros + 40)
    after = LocalSearch()._begun_anew(search, walk, zeros, 1, 20)
    assert after.since.tolist() == [41.0] * 8
    assert not after.near.any()
