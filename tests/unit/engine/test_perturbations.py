"""Changes by parameters: what is made of them, and that the harness measures them itself."""

import pytest
import torch

from benchmark.engine.attacking.attack import EVERY_SET, Attack
from benchmark.engine.attacking.perturbations import (
    DEGREES,
    SHIFT,
    Flow,
    Rigid,
    Transport,
    moved,
    transported,
)
from benchmark.engine.threat import Threat
from benchmark.errors import ContractBroken
from benchmark.selftest.closed_forms import LinearTask
from tests.helpers.toy_plugins import image_draws, linear_target

TASK = LinearTask.make(n=3, shape=(2, 4, 6))
SHAPE = (3, 2, 4, 6)
STADV, SPATIAL = Threat.parse("stadv:0.1"), Threat.parse("spatial:1")
WASSERSTEIN, PIXELS = Threat.parse("wasserstein:0.2"), Threat.parse("pixels:3")


class Returning(Attack):
    """Hands back what it was given."""

    name = "returning"
    norms = EVERY_SET

    def __init__(self, *, made):
        self.made = made

    def perturb(self, target, x, y, *, threat, draws):
        return self.made(x) if callable(self.made) else self.made


def shown(made, threat, sources=None):
    target = linear_target(TASK, sources=sources)
    return Returning(made=made)(target, TASK.x, TASK.y, threat=threat, draws=image_draws(3))


def flow(value=0.1, *more):
    return Flow(torch.full((3, *more, 2, 4, 6), value, dtype=torch.float64))


def plan(k=3):
    """Nothing is carried anywhere."""
    return torch.zeros(3, 2, k * k, 4, 6, dtype=torch.float64)


def image(n=1, c=1, h=6, w=6):
    generator = torch.Generator().manual_seed(0)
    return torch.rand(n, c, h, w, generator=generator, dtype=torch.float64)


def test_a_quarter_turn_is_one_and_a_shift_of_whole_pixels_leaves_black_behind():
    x = image(n=2, c=3)
    turn = torch.tensor([[90.0, 0, 0], [0, 1 / 6, -2 / 6]], dtype=torch.float64)
    made = moved(x, turn)
    torch.testing.assert_close(made[0], torch.rot90(x[0], 1, (1, 2)), rtol=0, atol=1e-12)
    torch.testing.assert_close(made[1, :, :4, 1:], x[1, :, 2:, :5], rtol=0, atol=1e-12)
    assert made[1, :, 4:].abs().max() < 1e-12
    assert made[1, :, :, 0].abs().max() < 1e-12


def test_half_a_turn_of_an_image_that_is_no_square_turns_it_over():
    x = image(h=4, w=6)
    turn = torch.tensor([[180.0, 0, 0]], dtype=torch.float64)
    torch.testing.assert_close(moved(x, turn), x.flip(2, 3), rtol=0, atol=1e-12)


def test_what_is_carried_leaves_one_pixel_and_arrives_at_the_other():
    x, carried = image(h=4, w=4), torch.zeros(1, 1, 9, 4, 4, dtype=torch.float64)
    carried[0, 0, 5, 1, 1] = 0.2  # to the right
    carried[0, 0, 0, 2, 2] = 0.1  # up and to the left
    carried[0, 0, 4, 3, 3] = 9.0  # the middle is not looked at
    expected = x.clone()
    expected[0, 0, 1, 1] += 0.1 - 0.2
    expected[0, 0, 1, 2] += 0.2
    expected[0, 0, 2, 2] -= 0.1
    torch.testing.assert_close(transported(x, carried), expected, rtol=0, atol=1e-12)
    cost = (0.2 + 0.1 * 2**0.5) / float(x.sum())
    assert float(Transport.size(x, carried)) == pytest.approx(cost)
    assert (
        Transport.flaw(x, carried * torch.tensor([*[1.0] * 4, 0, *[1.0] * 4])[:, None, None]) == ""
    )


def test_the_sizes_are_those_of_the_threats():
    x = image(n=2)
    field = torch.zeros(2, 2, 6, 6, dtype=torch.float64)
    field[0, 1, 2, 3], field[1, 0, 5, 5] = -0.3, 0.2
    assert Flow.size(x, field).tolist() == [0.3, 0.2]
    rigid = torch.tensor([[DEGREES / 2, 0, -SHIFT], [-2 * DEGREES, 0, 0]], dtype=torch.float64)
    assert Rigid.size(x, rigid).tolist() == [1.0, 2.0]


def test_one_change_or_several_for_each_image_are_made_into_images():
    assert shown(flow(0.1), STADV).shape == (3, 1, *SHAPE[1:])
    assert shown(flow(0.1, 4), STADV).shape == (3, 4, *SHAPE[1:])
    turns = torch.zeros(3, 2, 3, dtype=torch.float64)
    turns[:, 1, 0] = 30
    made = shown(Rigid(turns), SPATIAL)
    torch.testing.assert_close(made[:, 0], TASK.x, rtol=0, atol=1e-12)
    torch.testing.assert_close(made[:, 1], moved(TASK.x, turns[:, 1]), rtol=0, atol=1e-12)
    torch.testing.assert_close(shown(Transport(plan()), WASSERSTEIN)[:, 0], TASK.x)


def test_rounding_is_scaled_away_and_not_refused():
    made = shown(flow(0.1 * (1 + 2e-6)), STADV)
    torch.testing.assert_close(made, shown(flow(0.1), STADV), rtol=0, atol=1e-12)


class Modest(Flow):
    """Says that it is small."""

    @staticmethod
    def size(x, values):
        return torch.zeros(len(x))


def too_much():
    values = plan()
    values[:, :, 5, 1, 1] = 1.01
    return values


def negative():
    values = plan()
    values[0, 0, 5, 1, 1] = -0.1
    return values


def out_of_the_image():
    values = plan()
    values[0, 0, 3, 1, 0] = 0.01  # to the left of the leftmost
    return values


def heap():
    """All that eight neighbours have is carried to one pixel."""
    values = plan()
    for place in range(9):
        row, column = 1 - (place // 3 - 1), 2 - (place % 3 - 1)
        values[:, :, place, row, column] = TASK.x[:, :, row, column]
    return values


CHEATS = {
    "a flow above the bound": (flow(0.11), STADV, "left the budget: stadv 0.11"),
    "one candidate of many above it": (
        Flow(torch.cat((flow(0.05, 2).values, flow(0.2, 1).values), dim=1)),
        STADV,
        "left the budget",
    ),
    "a flow that is no number": (flow(float("nan")), STADV, "left the budget: stadv nan"),
    "a flow that lies about its size": (Modest(flow(1.0).values), STADV, "returned a Modest"),
    "images in place of a flow": (lambda x: x + 0.01, STADV, "two images do not say"),
    "images in place of a turn": (
        lambda x: x.flip(3),
        SPATIAL,
        "a benchmark.engine.attacking.perturbations.Rigid",
    ),
    "a turn in place of a flow": (Rigid(torch.zeros(3, 3)), STADV, "returned a Rigid"),
    "a flow in place of images": (flow(), PIXELS, "must return images"),
    "a flow of another size": (Flow(torch.zeros(3, 2, 6, 4)), STADV, "of shape (3, 2, 6, 4)"),
    "flows for too few": (Flow(torch.zeros(2, 2, 4, 6)), STADV, "of shape (2, 2, 4, 6)"),
    "no candidate": (Flow(torch.zeros(3, 0, 2, 4, 6)), STADV, "of shape (3, 0, 2, 4, 6)"),
    "a turn too far": (Rigid(torch.tensor([[31.0, 0, 0]] * 3)), SPATIAL, "left the budget"),
    "a shift too far": (Rigid(torch.tensor([[0, 0, -0.11]] * 3)), SPATIAL, "left the budget"),
    "more than there is": (
        Transport(too_much()),
        WASSERSTEIN,
        "more from some pixel than there is",
    ),
    "less than nothing": (Transport(negative()), WASSERSTEIN, "less than nothing"),
    "out of the image": (Transport(out_of_the_image()), WASSERSTEIN, "out of the image"),
    "all to one pixel": (Transport(heap()), Threat.parse("wasserstein:9"), "left [0, 1]"),
    "too far for the budget": (
        Transport(heap()),
        Threat.parse("wasserstein:0.01"),
        "left the budget: wasserstein",
    ),
    "an even window": (Transport(plan(k=2)), WASSERSTEIN, "of shape (3, 2, 4, 4, 6)"),
    "one pixel too many": (lambda x: raised(x, 4), PIXELS, "left the budget: pixels 4"),
    "two far corners": (
        lambda x: raised(x, 1, end=True),
        Threat.parse("sticker:0.1"),
        "left the budget: sticker 1",
    ),
}


def raised(x, n, end=False):
    x_adv = x.clone()
    x_adv.flatten(2)[:, 0, :n] += 0.01
    if end:
        x_adv[:, 1, -1, -1] += 0.01
    return x_adv


@pytest.mark.parametrize("cheat", CHEATS)
def test_a_cheat_is_caught_at_the_door(cheat):
    made, threat, complaint = CHEATS[cheat]
    with pytest.raises(ContractBroken) as caught:
        shown(made, threat)
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_as_many_pixels_as_are_allowed_are_allowed():
    assert torch.equal(shown(lambda x: raised(x, 3), PIXELS)[:, 0], raised(TASK.x, 3))


@pytest.mark.parametrize("threat", [STADV, SPATIAL, WASSERSTEIN], ids=str)
def test_the_clean_image_and_the_same_images_sources_may_be_shown_again(threat):
    sources = torch.rand(3, 2, *SHAPE[1:], dtype=torch.float64)
    assert torch.equal(shown(lambda x: x.clone(), threat)[:, 0], TASK.x)
    assert torch.equal(shown(sources, threat, sources), sources)
    with pytest.raises(ContractBroken, match="two images do not say"):
        shown(sources.flip(0), threat, sources)  # the sources of other images
    with pytest.raises(ContractBroken, match="two images do not say"):
        shown(sources, threat)
