"""RP2 against truth: on a linear victim the best sticker has a closed form."""

import pytest
import torch

from attacks.rp2 import RP2, best_rectangle, rectangles
from benchmark.engine.threat import NamedSet, Threat
from benchmark.selftest.closed_forms import LOGIT_GAP, LinearTask, fooled_by_any
from benchmark.selftest.set_cases import best_rectangle_gain
from tests.helpers.toy_plugins import Noise, image_draws, linear_target, nonlinear_target

TASK = LinearTask.make(n=8)
SIDE = 6


@pytest.mark.parametrize("area", range(2, 8))
def test_it_fools_exactly_where_the_best_sticker_of_a_linear_victim_does(area):
    attack = RP2(steps=12, l2_weight=0.0)
    target = linear_target(TASK)
    threat = Threat(NamedSet.STICKER, area / SIDE**2)
    x_adv = attack(target, TASK.x, TASK.y, threat=threat, draws=image_draws(8))
    expected = best_rectangle_gain(TASK.extremes(), area) > LOGIT_GAP
    assert fooled_by_any(target.victim, x_adv, TASK.y, target).tolist() == expected.tolist()
    assert (threat.size(TASK.x, x_adv[:, 0]) <= threat.eps + 1e-9).all()


def test_the_areas_of_that_test_reach_from_no_image_to_all():
    shares = [
        (best_rectangle_gain(TASK.extremes(), area) > LOGIT_GAP).double().mean()
        for area in range(2, 8)
    ]
    assert shares[0] == 0
    assert shares[-1] == 1


def test_the_rectangles_are_the_largest_that_fit():
    assert rectangles(4 / 24, (4, 6)) == [(1, 4), (2, 2), (4, 1)]
    assert rectangles(1.0, (4, 6)) == [(4, 6)]
    assert rectangles(0.99, (4, 6)) == [(3, 6), (4, 5)]
    assert rectangles(0.01, (4, 6)) == []


def test_the_best_rectangle_is_that_of_enumeration():
    gain = torch.rand(9, SIDE, SIDE, generator=torch.Generator().manual_seed(4)).double()
    for area in (1, 3, 6, 11, 36):
        mask = best_rectangle(gain, rectangles(area / SIDE**2, (SIDE, SIDE)))
        torch.testing.assert_close((mask * gain).sum((1, 2)), best_rectangle_gain(gain, area))
        assert (mask.sum((1, 2)) <= area).all()


@pytest.mark.parametrize("placement", ["centre", "random"])
def test_another_place_is_where_it_says(placement):
    target, threat = linear_target(TASK), Threat.parse("sticker:0.12")  # four pixels
    attack = RP2(steps=3, placement=placement)
    x_adv = attack(target, TASK.x, TASK.y, threat=threat, draws=image_draws(8))[:, 0]
    places = (x_adv != TASK.x).any(1)
    assert (places.sum((1, 2)) == 4).all()
    middle = torch.zeros(SIDE, SIDE, dtype=torch.bool)
    middle[2:4, 2:4] = True
    is_middle = (places == middle).flatten(1).all(1)
    assert bool(is_middle.all()) is (placement == "centre")
    assert len({tuple(place.flatten().tolist()) for place in places}) > 1 or is_middle.all()


def test_the_sensitive_place_is_a_better_one_than_the_middle():
    target, x, y = nonlinear_target()
    threat, fooled = Threat.parse("sticker:0.13"), []
    for placement in ("sensitive", "centre"):
        attack = RP2(steps=8, placement=placement)
        x_adv = attack(target, x, y, threat=threat, draws=image_draws(len(x)))
        fooled.append(int(fooled_by_any(target.victim, x_adv, y, target).sum()))
    assert fooled[0] > fooled[1]


def test_further_restarts_try_other_places_and_lose_nothing():
    target, x, y = nonlinear_target()
    threat, fooled = Threat.parse("sticker:0.13"), []
    for restarts in (1, 4):
        attack = RP2(steps=8, restarts=restarts, placement="centre")
        x_adv = attack(target, x, y, threat=threat, draws=image_draws(len(x)))
        assert x_adv.shape[1] == restarts
        fooled.append(fooled_by_any(target.victim, x_adv, y, target))
    assert (fooled[1] | ~fooled[0]).all()
    assert fooled[1].sum() > fooled[0].sum()


def test_every_image_is_driven_to_the_class_or_the_one_after_its_own():
    target, x, y = nonlinear_target()
    attack = RP2(steps=20, target_class=2)
    x_adv = attack(target, x, y, threat=Threat.parse("sticker:1"), draws=image_draws(len(x)))
    expected = torch.where(y == 2, 3, 2)
    assert torch.equal(target.bare_logits(x_adv[:, 0]).argmax(1), expected)


def test_the_first_view_is_the_image_itself_and_the_others_are_not():
    target, x, y = nonlinear_target(Noise(sigma=1e-9))
    seen = []
    inner = target.logits
    target.logits = lambda rows, *, draws: seen.append(rows.detach()) or inner(rows, draws=draws)
    attack = RP2(steps=1, views=4, placement="centre", shift=1, brightness=0.3)
    attack(target, x[:2], y[:2], threat=Threat.parse("sticker:0.3"), draws=image_draws(2))
    views = seen[0].view(4, 2, *x.shape[1:])  # a view of each image, then the next of each
    assert torch.allclose(views[0], x[:2], atol=1e-12)
    for other in range(1, 4):
        assert (views[other] - x[:2]).flatten(1).abs().amax(1).min() > 1e-3
    ratio = views[1:].mean((2, 3, 4)) / x[:2].mean((1, 2, 3))
    assert 0.5 < float(ratio.min()) < float(ratio.max()) < 1.5


def test_a_heavier_weight_makes_a_paler_sticker():
    lengths = []
    for weight in (0.0, 3.0):
        attack = RP2(steps=30, l2_weight=weight, step_size=0.02)
        threat = Threat.parse("sticker:0.12")
        x_adv = attack(linear_target(TASK), TASK.x, TASK.y, threat=threat, draws=image_draws(8))
        lengths.append(float((x_adv[:, 0] - TASK.x).norm()))
    assert lengths[1] < lengths[0]


def test_a_step_of_any_length_stays_under_the_sticker_and_inside_the_range():
    attack, threat = RP2(steps=1, step_size=99.0), Threat(NamedSet.STICKER, 0.25)
    x_adv = attack(linear_target(TASK), TASK.x, TASK.y, threat=threat, draws=image_draws(8))[:, 0]
    is_changed = x_adv != TASK.x
    assert set(x_adv[is_changed].tolist()) == {0.0, 1.0}
    assert is_changed.any(1).flatten(1).sum(1).max() <= 0.25 * SIDE**2


@pytest.mark.parametrize(("options", "kept"), [({}, 1), ({"eot": 2}, 2), ({"stochastic": True}, 2)])
def test_where_draws_matter_the_last_sticker_is_a_candidate_too(options, kept):
    asked = {"classes": 2, "eot": 1, "stochastic": False, "shape": (1, 6, 6), **options}
    assert RP2(restarts=3).passes(**asked).candidates == 3 * kept
