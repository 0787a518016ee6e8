"""NES: its gradient out of answers against a known one, its queries, its guide and its draws."""

import pytest
import torch

from attacks.nes import NES
from benchmark.engine.attacking.queries import Oracle
from benchmark.engine.threat import Norm
from benchmark.engine.victims.victim import GradientMode
from benchmark.errors import BenchError
from benchmark.selftest.closed_forms import LinearTask
from tests.helpers.toy_plugins import Noise, Same, image_draws, linear_target

TASK = LinearTask.make(n=4)
PIXELS = TASK.x[0].numel()
WHICH = torch.arange(4)


def estimated(defense=None, **options):
    """The estimate `(4, d)` and its cosine with the slope of the linear classifier, one an image."""
    target = linear_target(TASK, defense or Same())
    attack = NES(**{"guided": False, "directions": PIXELS, "reach": 1e-3, **options})
    oracle = Oracle(target, TASK.y, k=attack.draws)
    at, threat = image_draws(4), TASK.threat(Norm.LINF, 1)
    found = attack._gradient(oracle, TASK.x, WHICH, at.at("step"), at.at("eot"), threat).flatten(1)
    right = torch.where(TASK.y == 0, -1.0, 1.0)[:, None] * TASK.slope.flatten().to(found)
    return found, torch.cosine_similarity(found, right).abs()


def test_with_as_many_directions_as_pixels_it_is_the_gradient_itself():
    _, cosine = estimated()
    assert cosine.min() > 1 - 1e-6


def test_with_fewer_it_is_the_projection_on_them():
    found, cosine = estimated(directions=PIXELS // 4)
    whole, _ = estimated()
    assert ((found**2).sum(1) - (found * whole).sum(1)).abs().max() < 1e-6 * (whole**2).sum(1).max()
    assert cosine.max() < 0.9


def test_noise_cancels_since_all_points_of_an_image_meet_the_same_draws():
    _, cosine = estimated(Noise(sigma=0.05), draws=2)
    assert cosine.min() > 1 - 1e-3


def test_a_guide_is_all_that_a_linear_victim_needs():
    threat, options = TASK.threat(Norm.LINF, 1.02), {"directions": 1, "queries": 200}
    for guided in (True, False):
        target = linear_target(TASK, Same())
        attack = NES(guided=guided, momentum=0.0, **options)
        x_adv = attack(target, TASK.x, TASK.y, threat=threat, draws=image_draws(4))
        assert bool((TASK.room(x_adv) < 0).all()) is guided
        assert (target.backwards > 0) is guided


def test_without_any_gradient_a_guided_one_still_finds_its_way():
    class Hidden(Same):
        def purify(self, x, *, draws):
            return x.detach()

        def surrogate(self, x, *, draws):
            return 0 * x

    threat = TASK.threat(Norm.LINF, 1.3)
    target = linear_target(TASK, Hidden())
    target.mode = GradientMode.BPDA
    x_adv = NES(queries=3000)(target, TASK.x, TASK.y, threat=threat, draws=image_draws(4))
    assert (TASK.room(x_adv) < 0).all()


@pytest.mark.parametrize("queries", [67, 68, 300, 1001])
@pytest.mark.parametrize("defense", [Same(), Noise(sigma=0.1)], ids=["fixed", "random"])
def test_no_image_is_asked_about_more_often_than_it_says(queries, defense):
    attack = NES(queries=queries, draws=1, guided=False, directions=33)
    target = linear_target(TASK, defense)
    attack(target, TASK.x, TASK.y, threat=TASK.threat(Norm.LINF, 0.1), draws=image_draws(4))
    said = attack.passes(classes=2, eot=1, stochastic=defense.stochastic, shape=(1, 8, 8))
    assert target.forwards <= 4 * said.forwards <= 4 * queries


@pytest.mark.parametrize(
    "wrong",
    [{"queries": 66}, {"directions": 0}, {"draws": 0}, {"reach": 0.0}, {"momentum": 1.0}],
    ids=str,
)
def test_arguments_that_pay_for_no_step_are_refused(wrong):
    with pytest.raises(BenchError, match="nes"):
        NES(**wrong)._steps(stochastic=False)
