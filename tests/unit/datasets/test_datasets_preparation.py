"""Preparations: bit for bit what RobustBench does to an image of one of its ImageNet models."""

import pytest
import torch
from torchvision import transforms

from benchmark.classifiers.zoo import robustbench_module
from benchmark.datasets.preparation import ROBUSTBENCH, Preparation
from benchmark.errors import BenchError
from tests.helpers.image_folders import photograph

SIZES = [(500, 375), (333, 500), (224, 224), (400, 300), (90, 130), (256, 256)]


@pytest.fixture(scope="module")
def theirs():
    return robustbench_module("robustbench.data").PREPROCESSINGS


def test_every_named_preparation_of_robustbench_is_known(theirs):
    assert set(ROBUSTBENCH) == {name for name in theirs if name}


@pytest.mark.parametrize("name", sorted(ROBUSTBENCH))
@pytest.mark.parametrize(("width", "height"), SIZES)
def test_a_preparation_is_robustbenchs_bit_for_bit(theirs, name, width, height):
    image = photograph(width, width, height)
    ours = Preparation.parse(name)
    expected = theirs[name](image)
    assert torch.equal(ours(image), expected)
    assert ours.shape == tuple(expected.shape)


@pytest.mark.parametrize("how", ["bilinear", "bicubic", "lanczos", "nearest"])
def test_steps_are_torchvisions(how):
    image = photograph(1, 301, 200)
    mode = transforms.InterpolationMode(how)
    expected = transforms.Compose(
        [
            transforms.Resize(235, interpolation=mode),
            transforms.CenterCrop(224),
            transforms.ToTensor(),
        ]
    )(image)
    assert torch.equal(Preparation.parse(f"resize:235:{how},crop:224")(image), expected)


def test_other_interpolations_give_other_pixels():
    image = photograph(1, 301, 200)
    made = [
        Preparation.parse(f"resize:235{how},crop:224")(image)
        for how in ("", ":bicubic", ":lanczos", ":nearest")
    ]
    assert all(not torch.equal(a, b) for i, a in enumerate(made) for b in made[:i])


def test_a_resize_to_both_sides_sets_both():
    prepared = Preparation.parse("resize:20x30")
    assert prepared.shape == (3, 20, 30)
    assert prepared(photograph(2)).shape == (3, 20, 30)


def test_no_step_leaves_the_pixels_as_they_are():
    image = photograph(3)
    assert torch.equal(Preparation.parse("")(image), transforms.ToTensor()(image))
    assert Preparation.parse("").shape is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("res256crop224", "not understood at 'res256crop224'"),
        ("resize:256", "leaves the shape of an image open"),
        ("crop:224,resize:256", "leaves the shape"),
        ("resize:256:cubic,crop:224", "not understood at 'resize:256:cubic'"),
        ("crop:0", "at least 1 pixel"),
        ("crop:99999", "not understood"),
        ("crop:224,", "not understood at ''"),
        ("crop:224x220", "not understood"),
    ],
)
def test_what_is_no_preparation_is_one_line(text, message):
    with pytest.raises(BenchError, match=message) as caught:
        Preparation.parse(text)
    assert "\n" not in str(caught.value)
