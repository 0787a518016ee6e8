"""The classifiers of AdvAE's Table 2: their layers, those that their user trains, and float16 weights."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from benchmark.classifiers.catalog import CLASSIFIERS
from benchmark.classifiers.training_recipe import ClassifierRecipe
from benchmark.cli import main
from benchmark.engine.dataset import Dataset
from benchmark.engine.randomness import Draws
from benchmark.engine.threat import Threat
from benchmark.engine.victims.setting import Setting
from benchmark.errors import BenchError
from benchmark.evaluation.prepare.loading import load_classifier, load_dataset
from benchmark.evaluation.prepare.request import Request
from benchmark.files.user_folders import weights_folder
from benchmark.files.weights import halved, load_safetensors, save_safetensors
from benchmark.training import fit as fitting
from benchmark.training.fit import Fit, fit_classifier
from benchmark.training.loop import train
from benchmark.training.record import TrainingOptions

PUBLISHED = {
    "mnist-x": 312_202,
    "mnist-a": 924_746,
    "mnist-b": 710_218,
    "mnist-c": 1_387_210,
    "mnist-d": 199_210,
    "cifar-resnetv2-29": 843_786,
}


def layers(name: str) -> list[str]:
    """`conv 32 3x3`, with `/2` for a stride; `fc 200`; `drop .5`; `pool`."""
    found = []
    for module in CLASSIFIERS.get(name)().network().modules():
        if isinstance(module, nn.Conv2d):
            k, s = module.kernel_size[0], module.stride[0]
            found.append(f"conv {module.out_channels} {k}x{k}" + (f"/{s}" if s > 1 else ""))
        elif isinstance(module, nn.Linear):
            found.append(f"fc {module.out_features}")
        elif isinstance(module, nn.Dropout):
            found.append(f"drop {module.p}")
        elif isinstance(module, nn.MaxPool2d):
            found.append("pool")
    return found


def test_the_layers_are_those_of_table_2():
    assert layers("mnist-x") == [
        *["conv 32 3x3", "conv 32 3x3", "pool", "conv 64 3x3", "conv 64 3x3", "pool"],
        *["fc 200", "drop 0.5", "fc 200", "fc 10"],
    ]
    head = ["drop 0.25", "fc 128", "drop 0.5", "fc 10"]
    assert layers("mnist-a") == ["conv 64 5x5", "conv 64 5x5/2", *head]
    assert layers("mnist-b") == [
        *["drop 0.2", "conv 64 8x8/2", "conv 128 6x6/2", "conv 128 5x5", "drop 0.5", "fc 10"]
    ]
    assert layers("mnist-c") == ["conv 128 3x3", "conv 64 5x5/2", *head]
    assert layers("mnist-d") == ["fc 200", "drop 0.5", "fc 200", "drop 0.5", "fc 10"]


@pytest.mark.parametrize("name", PUBLISHED)
def test_each_has_its_number_of_weights_and_ten_logits(name):
    source = CLASSIFIERS.get(name)()
    network = source.network().eval()
    assert sum(parameter.numel() for parameter in network.parameters()) == PUBLISHED[name]
    shape = load_dataset(source.dataset, folder=Path()).shape
    assert network(torch.zeros(2, *shape)).shape == (2, 10)


def test_the_resnet_has_29_layers_on_its_way_three_stages_and_bottlenecks():
    network = CLASSIFIERS.get("cifar-resnetv2-29")().network()
    way = [m for n, m in network.named_modules() if isinstance(m, nn.Conv2d) and "short" not in n]
    assert len(way) + 1 == 29  # and the head
    assert [m.out_channels for m in way][:7] == [16, 16, 16, 64, 16, 16, 64]
    assert [m.stride[0] for m in way].count(2) == 2
    taps = {}
    for i, block in enumerate(network.stages):
        block.register_forward_hook(lambda _m, _i, out, i=i: taps.update({i: tuple(out.shape[1:])}))
    network.eval()(torch.zeros(1, 3, 32, 32))
    assert [taps[i] for i in (2, 5, 8)] == [(64, 32, 32), (128, 16, 16), (256, 8, 8)]


def test_the_recipes_are_adams_without_augmentation_but_on_cifar():
    for name in PUBLISHED:
        recipe = CLASSIFIERS.get(name)().recipe(is_adversarial=False)
        is_colour = name.startswith("cifar")
        assert (recipe.rate, recipe.batch_size) == (1e-3, 128)
        assert (recipe.shift, recipe.is_mirrored) == ((3, True) if is_colour else (0, False))


def test_about_half_of_the_images_are_seen_as_in_a_mirror():
    recipe = ClassifierRecipe(classifier="cifar-resnetv2-29", steps=1, shift=0, is_mirrored=True)
    x = torch.rand(400, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    seen = recipe.augmented(x, Draws.of(0, torch.arange(400), "train"))
    is_same = (seen == x).flatten(1).all(1)
    is_turned = (seen == x.flip(3)).flatten(1).all(1)
    assert bool((is_same ^ is_turned).all())
    assert 160 < int(is_turned.sum()) < 240
    alone = recipe.augmented(x[7:8], Draws.of(0, torch.tensor([7]), "train"))
    assert torch.equal(alone[0], seen[7])


class Few(Dataset):
    """A few images of MNIST's form."""

    name, shape, classes, threat, model = "mnist", (1, 28, 28), 10, "linf:0.3", "mnist-cnn"

    def labels(self, split):
        return torch.arange(20) % 10

    def images(self, split, indices):
        return Draws.of(0, indices, split).uniform(self.shape)


def test_a_classifier_that_does_not_ship_says_how_it_is_trained_and_is_then_found(
    tmp_path, monkeypatch
):
    few = Few(folder=tmp_path)
    with pytest.raises(BenchError, match=r"bench train --classifier mnist-c --dataset mnist$"):
        load_classifier("mnist-c", dataset=few, folder=tmp_path)
    source = CLASSIFIERS.get("mnist-c")
    short = ClassifierRecipe(classifier="mnist-c", steps=1, batch_size=2)
    monkeypatch.setattr(source, "recipe", lambda _self, *, is_adversarial: short)
    monkeypatch.setattr(fitting, "load_task", lambda *_a, **_k: (few, Threat.parse(few.threat)))
    fit = Fit(request=Request(defense="none", device="cpu"))
    path = fit_classifier("mnist-c", fit, is_adversarial=False)
    assert path == weights_folder() / "mnist-c.safetensors"
    found = load_classifier("mnist-c", dataset=few, folder=tmp_path)
    assert found.name == "mnist-c"
    state = load_safetensors(path)
    assert torch.equal(found.network.state_dict()["layers.0.weight"], state["layers.0.weight"])


def test_one_that_ships_is_not_overwritten_by_training(capfd):
    assert main(["train", "--classifier", "digits-mlp"]) == 2
    assert "--out" in capfd.readouterr().err


def test_halved_weights_are_half_the_bytes_say_so_and_are_cast_back(tmp_path):
    few = Few(folder=tmp_path)
    setting = Setting(
        dataset="mnist",
        shape=few.shape,
        classes=10,
        threat=Threat.parse(few.threat),
        device=torch.device("cpu"),
    )
    paths = [tmp_path / "whole.safetensors", tmp_path / "half.safetensors"]
    for path, is_half in zip(paths, (False, True), strict=True):
        recipe = ClassifierRecipe(classifier="mnist-d", steps=2, batch_size=4)
        train(recipe, setting, few, out=path, options=TrainingOptions(is_half=is_half))
    whole, half = (
        load_classifier(f"file:{path}@mnist-d", dataset=few, folder=tmp_path) for path in paths
    )
    assert paths[1].stat().st_size < 0.51 * paths[0].stat().st_size
    records = [json.loads(path.with_suffix(".json").read_text()) for path in paths]
    assert [record["is_half"] for record in records] == [False, True]
    x = few.images("test", torch.arange(5))
    assert half(x).dtype == torch.float32
    assert torch.allclose(half(x), whole(x), atol=2e-3)
    assert not torch.equal(half(x), whole(x))


def test_counters_are_not_halved_and_what_is_too_large_is_refused(tmp_path):
    state = {"n": torch.tensor(70_001), "w": torch.tensor([0.1])}
    save_safetensors(halved(state), tmp_path / "w.safetensors")
    found = load_safetensors(tmp_path / "w.safetensors", dtype=torch.float32)
    assert int(found["n"]) == 70_001
    assert found["w"].dtype == torch.float32
    with pytest.raises(BenchError, match="w does not fit into float16"):
        halved({"w": torch.tensor([1e6])})


def test_the_published_classifiers_are_as_good_as_they_say(data_folder):
    mnist = load_dataset("mnist", folder=data_folder)
    indices = mnist.order("test")[:1000]
    x, y = mnist.images("test", indices), mnist.labels("test")[indices]
    for name in PUBLISHED:
        if CLASSIFIERS.get(name).ships:
            classifier = load_classifier(name, dataset=mnist, folder=data_folder)
            least = 0.97 if name == "mnist-d" else 0.98
            assert float((classifier(x).argmax(1) == y).float().mean()) >= least
