"""DeepFool against closed forms: one step on a linear victim, and what it does where nothing helps."""

import pytest
import torch
from torch import nn

from attacks.deepfool import DeepFool
from benchmark.engine.attacking.target import Target
from benchmark.engine.threat import Norm, Threat
from benchmark.engine.victims.classifier import Classifier
from benchmark.engine.victims.purified import Purified
from benchmark.errors import BenchError
from benchmark.selftest.closed_forms import LinearTask, fooled_by_any
from tests.helpers.toy_plugins import Noise, image_draws, linear_target, nonlinear_target

TASK = LinearTask.make(n=4)
ROOMY = {Norm.LINF: Threat.parse("linf:0.5"), Norm.L2: Threat.parse("l2:5")}


def three_lines() -> Target:
    """Logits 0, 3a - 1.2 and 4b - 2 of two pixels: class 0 where both are dark."""
    layer = nn.Linear(2, 3, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[0.0, 0.0], [3.0, 0.0], [0.0, 4.0]]))
        layer.bias.copy_(torch.tensor([0.0, -1.2, -2.0]))
    classifier = Classifier(nn.Sequential(nn.Flatten(), layer), name="l", classes=3, sha256="")
    return Target(Purified([], classifier), classes=3)


@pytest.mark.parametrize("norm", list(Norm))
def test_on_a_linear_victim_one_step_is_as_long_as_the_margin_and_the_overshoot(norm):
    threat = ROOMY[norm]
    x_adv = DeepFool(steps=3)(
        linear_target(TASK), TASK.x, TASK.y, threat=threat, draws=image_draws(4)
    )[:, 0]
    expected = torch.full((4,), 1.02 * TASK.margins[norm], dtype=torch.float64)
    torch.testing.assert_close(threat.size(TASK.x, x_adv), expected, rtol=1e-4, atol=0)
    room = torch.full((4,), -0.04, dtype=torch.float64)
    torch.testing.assert_close(TASK.room(x_adv), room, rtol=0, atol=3e-4)


@pytest.mark.parametrize(
    ("pixels", "moves"), [((0.3, 0.1), (0.102, 0.0)), ((0.1, 0.4), (0.0, 0.102))]
)
def test_it_goes_to_the_nearest_of_several_boundaries(pixels, moves):
    """Of lines at a = .4 and b = .5 the nearer one, by hand: .1 away, and 2 % farther."""
    x = torch.tensor(pixels, dtype=torch.float64).view(1, 1, 1, 2)
    x_adv = DeepFool()(
        three_lines(), x, torch.tensor([0]), threat=ROOMY[Norm.L2], draws=image_draws(1)
    )
    torch.testing.assert_close(
        (x_adv[0, 0] - x[0]).flatten(), torch.tensor(moves).double(), rtol=0, atol=5e-5
    )


@pytest.mark.parametrize("norm", list(Norm))
def test_it_finds_smaller_changes_on_a_bent_victim_than_a_step_of_their_size_at_random(norm):
    target, x, y = nonlinear_target()
    threat, draws = ROOMY[norm], image_draws(len(x))
    x_adv = DeepFool()(target, x, y, threat=threat, draws=draws)
    assert fooled_by_any(target.victim, x_adv, y, target).all()
    sizes = threat.size(x, x_adv[:, 0]).view(-1, 1, 1, 1)
    noise = threat.direction(draws.normal((3, 4, 4), dtype=x.dtype))
    assert not fooled_by_any(target.victim, (x + sizes * noise).unsqueeze(1), y, target).any()


def test_what_is_misclassified_when_clean_is_left_as_it_is():
    target, x, y = nonlinear_target()
    x_adv = DeepFool()(target, x, (y + 1) % 6, threat=ROOMY[Norm.L2], draws=image_draws(len(x)))
    assert torch.equal(x_adv[:, 0], x)
    assert target.backwards == 5 * len(x)


@pytest.mark.parametrize("norm", list(Norm))
def test_a_change_larger_than_the_budget_is_moved_into_it_and_does_not_fool(norm):
    threat = TASK.threat(norm, 0.5)
    target = linear_target(TASK)
    x_adv = DeepFool()(target, TASK.x, TASK.y, threat=threat, draws=image_draws(4))
    sizes = threat.size(TASK.x, x_adv[:, 0])
    torch.testing.assert_close(sizes, torch.full_like(sizes, threat.eps))
    assert not fooled_by_any(target.victim, x_adv, TASK.y, target).any()


@pytest.mark.parametrize("threat", ["linf:0.04", "l2:0.2"])
@pytest.mark.parametrize("noise", [(), (Noise(),)], ids=["fixed", "random"])
def test_neither_batch_size_nor_neighbours_nor_leaving_early_change_an_image(noise, threat):
    attack, eot = DeepFool(steps=5, candidates=3), 2 if noise else 1

    def run(which, batch_size, leaves_early=False):
        target, x, y = nonlinear_target(
            *noise, eot=eot, batch_size=batch_size, leaves_early=leaves_early
        )
        draws = image_draws(len(x)).take(which)
        return attack(target, x[which], y[which], threat=Threat.parse(threat), draws=draws)

    everyone = torch.arange(23)
    images = run(everyone, 64)
    for which, batch_size, leaves_early in (
        (everyone, 7, True),
        (everyone.flip(0), 64, False),
        (everyone[4:7], 1, False),
    ):
        torch.testing.assert_close(
            run(which, batch_size, leaves_early), images[which], rtol=0, atol=1e-6
        )


def test_it_asks_for_as_many_rivals_as_there_are_other_classes():
    few, many = (
        DeepFool(candidates=n).passes(classes=5, eot=1, stochastic=False, shape=(3, 6, 6)).backwards
        for n in (2, 10)
    )
    assert (few, many) == (50 * 2, 50 * 4)


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"candidates": 0}, {"overshoot": -0.1}])
def test_wrong_arguments_are_refused_in_one_line(wrong):
    with pytest.raises(BenchError, match=next(iter(wrong))) as caught:
        DeepFool(**wrong)(
            linear_target(TASK), TASK.x, TASK.y, threat=ROOMY[Norm.L2], draws=image_draws(4)
        )
    assert "\n" not in str(caught.value)
