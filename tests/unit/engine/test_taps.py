"""Taps: positions that hang on no architecture, on classifiers of our own and on networks of many forms."""

import pytest
import torch
from torch import nn

from benchmark.classifiers.catalog import CLASSIFIERS
from benchmark.engine.victims.taps import POSITIONS, Position
from benchmark.errors import BenchError
from benchmark.evaluation.prepare.loading import load_classifier, load_dataset
from tests.helpers.tap_checks import check_taps, classifier_of, hooks

SMALL = [
    name
    for name in CLASSIFIERS.names()
    if CLASSIFIERS.get(name).ships and CLASSIFIERS.get(name).dataset in ("digits", "mnist")
]
PERCEPTRONS = ("digits-mlp", "mnist-mlp", "mnist-d")


@pytest.mark.parametrize("name", [*SMALL, "standard-r18"])
def test_the_positions_of_our_own_classifiers(name, tmp_path):
    dataset = load_dataset(CLASSIFIERS.get(name)().dataset, folder=tmp_path)
    classifier = load_classifier(name, dataset=dataset, folder=tmp_path)
    x = torch.rand(2, *dataset.shape, generator=torch.Generator().manual_seed(0))
    places = check_taps(classifier, x)
    if name in PERCEPTRONS:
        assert places["map"] == places["pooled"]
    else:
        assert places["map"].layout == "channels-first"
    if name == "standard-r18":
        assert [places[p].channels for p in POSITIONS[:4]] == [64, 128, 256, 512]


class LeNet(nn.Module):
    """Attributes instead of a Sequential, functions instead of modules."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, 5)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(256, 84)
        self.fc2 = nn.Linear(84, 10)

    def forward(self, x):
        x = nn.functional.max_pool2d(self.conv1(x).relu_(), 2)
        x = nn.functional.max_pool2d(self.conv2(x).relu_(), 2)
        return self.fc2(self.fc1(x.flatten(1)).relu())


class Normalise(nn.Module):
    def forward(self, x):
        return 2 * x - 1


def seeded(make):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return make()


def test_a_wrapped_lenet_is_tapped_at_its_convolutions_before_their_in_place_relu():
    classifier = classifier_of(seeded(lambda: nn.Sequential(Normalise(), LeNet())))
    x = torch.rand(2, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    places = check_taps(classifier, x)
    assert [places[p].tap for p in ("stem", "3/3", "map")] == ["1.conv1", "1.conv2", "1.conv2"]
    assert places["pooled"].tap == "1.fc2:input"
    tap = classifier.features(x, ["1.conv1"])[1]["1.conv1"]
    assert tap.min() < 0


def test_a_plain_sequential_is_cut_into_thirds_of_its_layers():
    layers = [nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1)]
    network = seeded(lambda: nn.Sequential(*layers, nn.Flatten(), nn.Linear(8, 10)))
    places = classifier_of(network).positions((3, 9, 12))
    assert [places[p].tap for p in POSITIONS[:4]] == ["0", "1", "3", "4"]
    assert {places[p].layout for p in POSITIONS[:4]} == {"channels-first"}
    assert places["pooled"].tap == "6:input"


def test_pooling_means_over_places_and_leaves_out_tokens_that_stand_for_none():
    tap = torch.arange(24.0).reshape(1, 2, 3, 4)
    first = Position("t", (2, 3, 4), "channels-first")
    last = Position("t", (2, 3, 4), "channels-last")
    tokens = Position("t", (6, 4), "tokens", prefix=2)
    assert first.channels == 2
    assert first.pooled(tap).tolist() == [[5.5, 17.5]]
    assert last.channels == tokens.channels == 4
    assert last.pooled(tap).tolist() == [[10.0, 11.0, 12.0, 13.0]]
    assert tokens.pooled(tap.reshape(1, 6, 4)).tolist() == [[14.0, 15.0, 16.0, 17.0]]


@pytest.mark.parametrize("names", [["fc9"], ["1.conv1", "fc9:input"]])
def test_a_name_of_no_module_is_refused_and_nothing_stays_registered(names):
    classifier = classifier_of(nn.Sequential(Normalise(), LeNet()))
    with pytest.raises(BenchError, match="has no submodule 'fc9"):
        classifier.features(torch.rand(1, 1, 28, 28), names)
    assert hooks(classifier) == 0


def test_nothing_stays_registered_after_a_forward_pass_that_failed():
    classifier = classifier_of(nn.Sequential(Normalise(), LeNet()))
    with pytest.raises(RuntimeError):
        classifier.features(torch.rand(1, 3, 28, 28), ["1.conv1", "1.fc2:input"])
    with pytest.raises(BenchError, match=r"does not take images of shape \(3, 28, 28\)"):
        classifier.positions((3, 28, 28))
    assert hooks(classifier) == 0


def test_a_module_that_does_not_run_has_no_tap():
    network = LeNet()
    network.unused = nn.Linear(2, 2)
    with pytest.raises(BenchError, match="no tensor came out of unused"):
        classifier_of(network).features(torch.rand(1, 1, 28, 28), ["unused"])


def test_a_network_without_layers_has_no_positions():
    with pytest.raises(BenchError, match="nothing to tap"):
        classifier_of(nn.Flatten()).positions((1, 8, 8))


def test_positions_hang_on_no_grad_mode_and_leave_weights_without_gradients():
    classifier = classifier_of(seeded(LeNet))
    with torch.no_grad():
        places = classifier.positions((1, 28, 28))
    assert places == classifier.positions((1, 28, 28))
    assert all(p.grad is None and not p.requires_grad for p in classifier.parameters())
