"""AID-Purifier's discriminator: its size, its layers, and where it looks."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from benchmark.classifiers.zoo import zoo_network
from benchmark.classifiers.zoo_names import resolve
from benchmark.engine.victims.classifier import Classifier
from benchmark.engine.victims.taps import POSITIONS
from defenses.aid.network import Discriminator, Eye, discriminator_for
from defenses.aid.presets import PRESETS, preset_for
from tests.helpers.small_aid import classifier, images, setting

WRN = {"stem": 16, "1/3": 160, "2/3": 320, "3/3": 640}


def made(name: str, network: str = "code") -> Discriminator:
    preset = PRESETS[name]
    with torch.device("meta"):
        return Discriminator(
            [WRN[tap] for tap in preset.taps], preset, places=(0, 1), network=network
        )


@pytest.mark.parametrize(
    ("name", "millions"), [("cifar10", 5.08), ("cifar100", 5.08), ("svhn", 2.78)]
)
def test_on_wrn_34_10_it_has_as_many_parameters_as_the_specification_says(name, millions):
    count = sum(p.numel() for p in made(name).parameters())
    assert round(count / 1e6, 2) == millions


def linears(module: nn.Module) -> list[tuple[int, int]]:
    return [(m.in_features, m.out_features) for m in module.modules() if isinstance(m, nn.Linear)]


def test_cifar_has_two_layers_a_branch_and_two_hidden_ones_behind():
    network = made("cifar10")
    assert [linears(branch) for branch in network.branches] == [
        [(16, 1024), (1024, 1024)],
        [(320, 1024), (1024, 1024)],
    ]
    assert linears(network.head) == [(2048, 1024), (1024, 512)]
    assert linears(network.last) == [(512, 1)]


def test_svhn_has_one_layer_a_branch_and_one_hidden_one_behind():
    network = made("svhn")
    assert [linears(branch) for branch in network.branches] == [[(16, 1024)], [(640, 1024)]]
    assert linears(network.head) == [(2048, 1024)]
    assert linears(network.last) == [(1024, 1)]


@pytest.mark.parametrize(("network", "norms"), [("code", 6), ("paper", 0)])
def test_the_codes_network_has_batch_norm_after_each_hidden_layer_and_the_papers_none(
    network, norms
):
    layers = list(made("cifar10", network).modules())
    assert sum(isinstance(m, nn.BatchNorm1d) for m in layers) == norms
    assert sum(isinstance(m, nn.ReLU) for m in layers) == 6


def test_first_weights_are_kaiming_normal_and_batch_norms_begin_at_one_and_zero():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Discriminator([16, 320], PRESETS["cifar10"], places=(0, 2), network="code")
    layer = network.branches[1][3].weight
    assert float(layer.detach().std()) == pytest.approx((2 / 1024) ** 0.5, rel=0.01)
    assert (
        float(layer.detach().abs().max()) > 3 * (2 / 1024) ** 0.5
    )  # a uniform one ends at 1.73 of them
    norm = network.branches[1][1]
    assert torch.equal(norm.weight, torch.ones(1024))
    assert torch.equal(norm.bias, torch.zeros(1024))
    assert not network.last.bias.any()


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_makes_one_logit_an_image_at_its_size(name):
    preset = PRESETS[name]
    shape = (3, preset.sides[0], preset.sides[0]) if preset.sides else (3, 32, 32)
    eye, network = discriminator_for(setting(shape), preset, network="code")
    network.eval()
    with torch.no_grad():
        assert network(eye(images(2, shape))).shape == (2,)
    assert eye.names == preset.taps


def test_a_tap_is_the_mean_over_the_image_of_what_a_layer_puts_out():
    net = classifier()
    x = images()
    with torch.no_grad():
        stem, deep = Eye(net, ("stem", "3/3"), (1, 8, 8))(x)
        first = net.network[0](x)
        last = net.network[:7](x)
    torch.testing.assert_close(stem, first.mean((2, 3)))
    positions = net.positions((1, 8, 8))
    assert positions["stem"].tap == "0"
    expected = net.network[: int(positions["3/3"].tap) + 1](x)
    torch.testing.assert_close(deep, expected.mean((2, 3)))
    assert deep.shape == (5, last.shape[1])


def test_any_number_of_taps_makes_as_many_branches():
    for taps in (("2/3",), ["map"], ("stem", "1/3", "2/3", "3/3"), ("pooled", "logits")):
        preset = replace(PRESETS["digits"], taps=taps)
        _, network = discriminator_for(setting(), preset, network="code")
        assert len(network.branches) == len(taps)
        assert network.head[0].in_features == len(taps) * PRESETS["digits"].width
        assert [POSITIONS[i] for i in network.places.tolist()] == list(taps)


def test_one_tap_may_be_named_without_a_list():
    preset = replace(PRESETS["digits"], taps="2/3")
    eye, _ = discriminator_for(setting(), preset, network="code")
    assert eye.names == ("2/3",)


@pytest.mark.parametrize(
    ("dataset", "shape", "name"),
    [
        ("svhn", (3, 32, 32), "svhn"),
        ("cifar100", (3, 32, 32), "cifar100"),
        ("imagenette", (3, 160, 160), "imagenet"),
        ("npz-faces", (3, 224, 224), "imagenet"),
        ("npz-letters", (1, 28, 28), "28px"),
        ("npz-cells", (3, 32, 32), "general"),
        ("npz-strips", (1, 28, 14), "general"),
    ],
)
def test_the_dataset_chooses_the_preset_and_else_the_size(dataset, shape, name):
    assert preset_for("auto", shape, dataset).name == name


def test_it_taps_a_wrn_34_10_where_the_paper_does():
    model = resolve("Zhang2019Theoretically", "cifar10")
    assert model is not None
    with torch.device("meta"):
        wrn = Classifier(zoo_network(model), name="wrn", classes=10, sha256="0")
    for name in ("cifar10", "svhn"):
        taps = PRESETS[name].taps
        assert Eye(wrn, taps, (3, 32, 32)).channels == [WRN[tap] for tap in taps]
