"""Taps: positions that hang on no architecture, on every family of the zoo and on networks of our own."""

import pytest
import torch
from torch import nn

from benchmark.classifier import Classifier
from benchmark.classifiers.names import CLASSIFIERS
from benchmark.classifiers.zoo_names import resolve
from benchmark.errors import BenchError
from benchmark.loading import load_classifier, load_dataset
from benchmark.taps import POSITIONS, Position
from tests.zoo_checkpoints import ARCHITECTURES, images_of, model_of, network_of, shape_of

SMALL = [
    name
    for name in CLASSIFIERS.names()
    if CLASSIFIERS.get(name).ships and CLASSIFIERS.get(name).dataset in ("digits", "mnist")
]
PERCEPTRONS = ("digits-mlp", "mnist-mlp", "mnist-d")
FIRST, LAST, TOKENS = "channels-first", "channels-last", "tokens"
PLACES = {  # stem, 1/3, 2/3, 3/3, map, pooled
    "WideResNet": ["conv1", "block1.layer.5", "block2.layer.5", "block3.layer.5", "relu", "fc"],
    "DMPreActResNet (SiLU)": [
        "conv_2d",
        "layer_1.0",
        "layer_2.1",
        "layer_3.1",
        "relu",
        "logits",
    ],
    "PreActResNet": ["conv1", "layer2.0", "layer3.1", "layer4.1", "layer4", "linear"],
    "PreActResNet, norm before pooling": [
        "conv1",
        "layer2.0",
        "layer3.1",
        "layer4.1",
        "bn",
        "linear",
    ],
    "ResNet": ["conv1", "layer2.0", "layer3.1", "layer4.1", "layer4", "linear"],
    "ResNeXt": ["conv_1_3x3", "stage_1.2", "stage_2.2", "stage_3.2", "stage_3", "classifier"],
    "XCiT, normalised": [
        "model.patch_embed.proj",
        "model.blocks.3",
        "model.blocks.7",
        "model.blocks.11",
        "model.norm",
        "model.head",
    ],
    "ensemble": [
        "branch3.conv1",
        "branch3.layer2.2",
        "branch3.layer3.3",
        "branch3.layer4.2",
        "branch3.layer4",
        "branch3.linear",
    ],
    "torchvision ResNet, normalised": [
        "model.conv1",
        "model.layer2.0",
        "model.layer3.1",
        "model.layer4.1",
        "model.layer4",
        "model.fc",
    ],
    "XCiT": [
        "patch_embed.proj",
        "blocks.3",
        "blocks.7",
        "blocks.11",
        "norm",
        "head",
    ],
    "ViT with convolutions": [
        "model.patch_embed",
        "model.blocks.3",
        "model.blocks.7",
        "model.blocks.11",
        "model.norm",
        "model.head",
    ],
    "ConvNeXt": [
        "stem",
        "stages.1.blocks.2",
        "stages.2.blocks.5",
        "stages.3.blocks.2",
        "norm_pre",
        "head.fc",
    ],
    "Swin, normalised": [
        "model.patch_embed",
        "model.layers.2.blocks.3",
        "model.layers.2.blocks.11",
        "model.layers.3.blocks.1",
        "model.norm",
        "model.head.fc",
    ],
}
SHAPES = {  # of 1/3 and of map: shape, layout, prefix
    "WideResNet": [((32, 32, 32), FIRST, 0), ((128, 8, 8), FIRST, 0)],
    "DMPreActResNet (SiLU)": [((128, 16, 16), FIRST, 0), ((512, 4, 4), FIRST, 0)],
    "PreActResNet": [((128, 16, 16), FIRST, 0), ((512, 4, 4), FIRST, 0)],
    "PreActResNet, norm before pooling": [((128, 16, 16), FIRST, 0), ((512, 4, 4), FIRST, 0)],
    "ResNet": [((128, 16, 16), FIRST, 0), ((512, 4, 4), FIRST, 0)],
    "ResNeXt": [((256, 32, 32), FIRST, 0), ((1024, 8, 8), FIRST, 0)],
    "XCiT, normalised": [((64, 384), TOKENS, 0), ((65, 384), TOKENS, 1)],
    "ensemble": [((512, 16, 16), FIRST, 0), ((2048, 4, 4), FIRST, 0)],
    "torchvision ResNet, normalised": [((128, 28, 28), FIRST, 0), ((512, 7, 7), FIRST, 0)],
    "XCiT": [((196, 384), TOKENS, 0), ((197, 384), TOKENS, 1)],
    "ViT with convolutions": [((197, 384), TOKENS, 1), ((197, 384), TOKENS, 1)],
    "ConvNeXt": [((192, 28, 28), FIRST, 0), ((768, 7, 7), FIRST, 0)],
    "Swin, normalised": [((14, 14, 512), LAST, 0), ((7, 7, 1024), LAST, 0)],
}


def hooks(classifier):
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in classifier.modules())


def classifier_of(network, classes=10):
    return Classifier(network.eval(), name="n", classes=classes, sha256="")


def disturbed(classifier, x, places, at):
    """All taps while the output of one position's module is shifted."""
    module = dict(classifier.network.named_modules())[places[at].tap]
    handle = module.register_forward_hook(lambda _module, _inputs, output: output + 0.5)
    try:
        with torch.no_grad():
            return classifier.features(x, [place.tap for place in places.values()])[1]
    finally:
        handle.remove()


def check_taps(classifier, x):
    """What must hold of the positions of any classifier; gives the positions."""
    places = classifier.positions(tuple(x.shape[1:]))
    assert tuple(places) == POSITIONS
    x = x.clone().requires_grad_()
    logits, taps = classifier.features(x, [place.tap for place in places.values()])
    assert torch.equal(logits, classifier(x))
    assert torch.equal(taps[places["logits"].tap], logits)
    for name, place in places.items():
        tap = taps[place.tap]
        assert tap.shape == (len(x), *place.shape), name
        assert place.pooled(tap).shape == (len(x), place.channels), name
        if name in ("stem", "2/3", "pooled"):
            (g,) = torch.autograd.grad(tap.square().mean(), x, retain_graph=True)
            assert g.abs().max() > 0, name
    for at in ("stem", "2/3") if x.shape[-1] <= 32 else ("2/3",):
        other = disturbed(classifier, x, places, at)
        names = [name for name in POSITIONS if places[name].tap != places[at].tap]
        for name in names:
            tap = places[name].tap
            is_later = POSITIONS.index(name) > POSITIONS.index(at)
            assert torch.equal(other[tap], taps[tap]) is not is_later, (at, name)
    assert hooks(classifier) == 0
    return places


@pytest.mark.parametrize(
    "architecture",
    [pytest.param(n, marks=pytest.mark.slow if "Swin" in n else ()) for n in PLACES],
)
def test_the_positions_of_every_family_of_the_zoo(architecture):
    model = model_of(architecture)
    classifier = classifier_of(network_of(model))
    places = check_taps(classifier, images_of(model))
    *outputs, final = PLACES[architecture]
    assert [places[name].tap for name in POSITIONS[:5]] == outputs
    assert places["pooled"].tap == f"{final}:input"
    found = [places["1/3"], places["map"]]
    assert [(p.shape, p.layout, p.prefix) for p in found] == SHAPES[architecture]


def test_every_family_has_its_expectations():
    same = {"torchvision's own weights", "DeiT, normalised"}  # as other ResNets and ViTs
    assert set(PLACES) == set(SHAPES) == set(ARCHITECTURES) - same


def test_wrn_34_10_is_tapped_where_the_aid_purifier_paper_taps_it():
    model = resolve("Zhang2019Theoretically", "cifar10")
    places = classifier_of(network_of(model)).positions(shape_of(model))
    taps = [(places[name].tap, places[name].channels) for name in POSITIONS[:4]]
    assert taps == [
        ("conv1", 16),
        ("block1.layer.4", 160),
        ("block2.layer.4", 320),
        ("block3.layer.4", 640),
    ]


def test_a_wide_resnet_with_silu_that_normalises_inside_is_tapped_at_its_blocks():
    model = resolve("Gowal2021", "cifar10")  # DMWideResNet, 28-10
    places = check_taps(classifier_of(network_of(model)), images_of(model))
    taps = [(places[name].tap, places[name].channels) for name in POSITIONS[:4]]
    assert taps == [
        ("init_conv", 16),
        ("layer.0.block.3", 160),
        ("layer.1.block.3", 320),
        ("layer.2.block.3", 640),
    ]


def test_blocks_that_never_run_are_not_counted():
    model = resolve("Huang2020Self", "cifar10")  # it has a sub_block1 that its forward leaves out
    network = network_of(model)
    assert any(name.startswith("sub_block1") for name, _ in network.named_modules())
    places = classifier_of(network).positions(shape_of(model))
    assert [places[name].tap for name in POSITIONS[1:4]] == [
        "block1.layer.4",
        "block2.layer.4",
        "block3.layer.4",
    ]


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
    with pytest.raises(BenchError, match=r"takes no images of shape \(3, 28, 28\)"):
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
