"""Taps of the zoo: where the positions of every family of architectures lie."""

import pytest

from benchmark.classifiers.zoo_names import CLASSES, resolve
from benchmark.engine.victims.taps import POSITIONS
from tests.helpers.tap_checks import check_taps, classifier_of
from tests.helpers.zoo_checkpoints import ARCHITECTURES, images_of, model_of, network_of, shape_of

pytestmark = pytest.mark.slow

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


@pytest.mark.parametrize(
    "architecture",
    [pytest.param(n, marks=pytest.mark.slow if "Swin" in n else ()) for n in PLACES],
)
def test_the_positions_of_every_family_of_the_zoo(architecture):
    model = model_of(architecture)
    classifier = classifier_of(network_of(model), CLASSES[model.dataset])
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
    places = classifier_of(network_of(model), CLASSES[model.dataset]).positions(shape_of(model))
    taps = [(places[name].tap, places[name].channels) for name in POSITIONS[:4]]
    assert taps == [
        ("conv1", 16),
        ("block1.layer.4", 160),
        ("block2.layer.4", 320),
        ("block3.layer.4", 640),
    ]


def test_a_wide_resnet_with_silu_that_normalises_inside_is_tapped_at_its_blocks():
    model = resolve("Gowal2021", "cifar10")  # DMWideResNet, 28-10
    places = check_taps(classifier_of(network_of(model), CLASSES[model.dataset]), images_of(model))
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
