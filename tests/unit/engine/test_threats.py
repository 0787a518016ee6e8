"""Threats: what is read, what is refused, and how large a change is that images alone tell."""

import pytest
import torch

from benchmark.engine.threat import EXAMPLES, NamedSet, Norm, Threat
from benchmark.errors import BenchError


@pytest.mark.parametrize("text", EXAMPLES.values())
def test_an_example_of_every_kind_is_read_and_written_back(text):
    threat = Threat.parse(text)
    assert str(threat) == text
    assert Threat.parse(str(threat)) == threat
    assert threat.slug == text.replace(":", "-").replace("/", "-")


def test_there_is_an_example_of_every_kind():
    assert set(EXAMPLES) == {*Norm, *NamedSet}


def test_the_lp_norms_are_still_the_only_norms():
    assert list(Norm) == ["linf", "l2"]


@pytest.mark.parametrize(
    "text",
    [
        "linf:2",
        "stadv:0",
        "stadv:2.5",
        "spatial:7",
        "wasserstein:-1",
        "pixels:0",
        "pixels:2.5",
        "sticker:1.1",
        "sticker:0",
    ],
)
def test_a_size_that_cannot_be_is_refused_in_one_line(text):
    with pytest.raises(BenchError, match="threat's eps is") as caught:
        Threat.parse(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("text", "is_told"), [("linf:1.5", True), ("linf:0", False)])
def test_a_budget_in_grey_levels_is_told_how_to_be_written(text, is_told):
    with pytest.raises(BenchError) as caught:
        Threat.parse(text)
    assert ("(write 8/255, not 8)" in str(caught.value)) == is_told


@pytest.mark.parametrize("text", ["stadv", "stadv:", "spatial:30deg", "l0:3", "sticker:a"])
def test_what_is_no_threat_is_refused_with_examples_of_all(text):
    with pytest.raises(BenchError, match="expected NORM:EPS") as caught:
        Threat.parse(text)
    assert all(example in str(caught.value) for example in EXAMPLES.values())


def changed(*places: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    """Two grey images of 3 x 4 x 5, the second of which differs at `(channel, row, column)`."""
    x = torch.full((1, 3, 4, 5), 0.5)
    x_adv = x.clone()
    for place in places:
        x_adv[(0, *place)] = 0.5 + 1e-6
    return x, x_adv


@pytest.mark.parametrize(
    ("places", "pixels", "area"),
    [
        ([], 0, 0),
        ([(1, 2, 3)], 1, 1),
        ([(0, 2, 3), (1, 2, 3), (2, 2, 3)], 1, 1),
        ([(0, 0, 0), (1, 2, 1)], 2, 6),
        ([(0, 0, 0), (2, 3, 4)], 2, 20),
        ([(0, 1, 4), (0, 1, 0), (1, 1, 2)], 3, 5),
    ],
)
def test_pixels_are_counted_over_channels_and_a_sticker_is_the_rectangle_around_them(
    places, pixels, area
):
    x, x_adv = changed(*places)
    assert float(Threat.parse("pixels:1").size(x, x_adv)) == pixels
    assert float(Threat.parse("sticker:1").size(x, x_adv)) == pytest.approx(area / 20)


def test_a_pixel_that_is_no_number_counts_as_changed():
    x = torch.full((1, 1, 4, 4), 0.5)
    x_adv = x.clone()
    x_adv[0, 0, 1, 1] = float("nan")
    assert float(Threat.parse("pixels:1").size(x, x_adv)) == 1


@pytest.mark.parametrize("name", ["stadv", "spatial", "wasserstein"])
def test_where_images_do_not_tell_a_size_none_is_told(name):
    threat = Threat.parse(EXAMPLES[name])
    assert not threat.is_read_off
    with pytest.raises(BenchError, match=r"benchmark\.engine\.attacking\.perturbations"):
        threat.size(*changed())


@pytest.mark.parametrize("name", list(NamedSet))
def test_what_is_no_ball_has_no_projection_and_no_steepest_direction(name):
    threat = Threat.parse(EXAMPLES[name])
    for ask in (lambda: threat.project(*changed()), lambda: threat.direction(changed()[0])):
        with pytest.raises(BenchError, match="no lp ball"):
            ask()
