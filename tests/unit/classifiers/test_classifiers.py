"""Classifiers of our own: as good as they say, listed without torch, and trained again by their recipe."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmark.classifiers import small
from benchmark.classifiers.catalog import CLASSIFIERS, classifier_names, classifier_note
from benchmark.classifiers.training_recipe import (
    AdversarialRecipe,
    ClassifierRecipe,
)
from benchmark.engine.randomness import Draws
from benchmark.engine.threat import Threat
from benchmark.engine.victims.setting import Setting
from benchmark.errors import BenchError
from benchmark.evaluation.prepare.loading import load_classifier, load_dataset
from benchmark.files.known_hashes import file_sha256
from benchmark.recipe import one_cycle, shifted
from benchmark.training.loop import train
from benchmark.training.record import TrainingOptions

WEIGHTS = Path(small.__file__).parent / "weights"
UNSHIPPED = [name for name in CLASSIFIERS.names() if not CLASSIFIERS.get(name).ships]
SMALL = [name for name in CLASSIFIERS.names() if name not in ("standard-r18", *UNSHIPPED)]
DIGITS = ("digits-cnn", "digits-conv", "digits-mlp", "digits-vgg")


@pytest.fixture
def digits(tmp_path):
    return load_dataset("digits", folder=tmp_path)


def accuracy(classifier, dataset, n):
    indices = dataset.order("test")[:n]
    with torch.no_grad():
        found = [classifier(dataset.images("test", part)).argmax(1) for part in indices.split(250)]
    return float((torch.cat(found) == dataset.labels("test")[indices]).float().mean())


def test_the_digits_classifiers_are_good_and_surrogates_as_good_within_three_points(digits):
    found = {
        name: accuracy(load_classifier(name, dataset=digits, folder=digits.folder), digits, 500)
        for name in (digits.model, *digits.surrogates, *digits.strangers)
    }
    assert set(found) == set(DIGITS)
    assert found["digits-cnn"] >= 0.975
    assert all(abs(found[name] - found["digits-cnn"]) <= 0.03 for name in DIGITS)


@pytest.mark.parametrize(("name", "least"), [("mnist", 0.985), ("fashion_mnist", 0.885)])
def test_the_mnist_classifiers_are_good_and_surrogates_within_three_points(name, least):
    if not os.environ.get("BENCH_DATA"):
        pytest.skip("BENCH_DATA names no folder with the real datasets")
    folder = Path(os.environ["BENCH_DATA"])
    dataset = load_dataset(name, folder=folder)
    names = (dataset.model, *dataset.surrogates, *dataset.strangers)
    found = [
        accuracy(load_classifier(n, dataset=dataset, folder=folder), dataset, 2000) for n in names
    ]
    assert min(found) >= least - 0.01
    assert max(found) - min(found) <= 0.04  # 3 points on all images, 1 more on 2,000 of them


def test_standard_r18_is_the_real_network(tmp_path):
    if not os.environ.get("BENCH_DATA"):
        pytest.skip("BENCH_DATA names no folder with the real datasets")
    dataset = load_dataset("cifar10", folder=Path(os.environ["BENCH_DATA"]))
    classifier = load_classifier(dataset.model, dataset=dataset, folder=tmp_path)
    assert accuracy(classifier, dataset, 200) >= 0.9
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", SMALL)
def test_shipped_weights_are_small_and_have_their_record(name):
    weights = WEIGHTS / f"{name}.safetensors"
    record = json.loads(weights.with_suffix(".json").read_text())
    source = CLASSIFIERS.get(name)()
    assert weights.stat().st_size < 2_000_000
    assert record["weights_sha256"] == file_sha256(weights)
    assert (
        record["arguments"]["steps"] == record["steps"] == source.recipe(is_adversarial=False).steps
    )
    half = " --half" if record.get("is_half") else ""
    threads = " --threads 1" if " --threads " in record["command"] else ""
    assert record["command"] == (
        f"bench train --classifier {name} --dataset {source.dataset} --seed {record['seed']}"
        f"{threads}{half} --out {name}.safetensors"
    )


@pytest.mark.parametrize("name", SMALL)
def test_a_small_classifier_gives_the_same_logits_in_any_batch_and_mode(name, tmp_path):
    source = CLASSIFIERS.get(name)()
    dataset = load_dataset(source.dataset, folder=tmp_path)
    classifier = load_classifier(name, dataset=dataset, folder=tmp_path, dtype=torch.float64)
    x = Draws.of(0, torch.arange(5), "x").uniform(dataset.shape, dtype=torch.float64)
    logits = classifier(x)
    assert logits.shape == (5, 10)
    classifier.train()
    assert torch.allclose(classifier(x[3:4]), logits[3:4], atol=1e-12)
    assert not any(p.requires_grad for p in classifier.parameters())
    taps = classifier.features(x, classifier.tap_names())[1]
    assert len(taps) >= 8


def test_names_are_listed_without_torch_or_robustbench():
    program = (
        "import sys\n"
        "from benchmark.classifiers.catalog import classifier_names\n"
        "print(*classifier_names('cifar10'))\n"
        "assert not {'torch', 'robustbench', 'timm'} & set(sys.modules)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    names = ran.stdout.split()
    assert names[0] == "standard-r18"
    assert "Gowal2021Improving_28_10_ddpm_100m" in names
    assert len(names) == len(set(names)) > 100


def test_the_default_comes_first_and_every_own_name_has_a_note():
    assert classifier_names("digits") == list(DIGITS)
    assert all(classifier_note(name) for name in CLASSIFIERS.names())


def recipe(**more):
    return ClassifierRecipe(classifier="digits-mlp", steps=60, batch_size=64, **more)


def setting():
    return Setting(
        dataset="digits",
        shape=(1, 8, 8),
        classes=10,
        threat=Threat.parse("linf:0.15"),
        device=torch.device("cpu"),
    )


def test_a_classifier_learns_by_its_recipe_and_twice_the_same(digits, tmp_path):
    outs = [tmp_path / f"{i}.safetensors" for i in range(2)]
    for out in outs:
        train(recipe(), setting(), digits, out=out, options=TrainingOptions(seed=1))
    assert file_sha256(outs[0]) == file_sha256(outs[1])
    found = load_classifier(f"file:{outs[0]}@digits-mlp", dataset=digits, folder=tmp_path)
    assert accuracy(found, digits, 500) > 0.8


def test_the_adversarial_recipe_updates_on_attacked_images_alone(digits):
    seen = {}

    def attack(module, x, y, draws):
        seen.update(training=module.training, x=x, path=draws.path)
        return x + 1

    wrapped = AdversarialRecipe(inner=recipe(shift=0))
    wrapped.build(setting(), {wrapped.attacks[0]: attack})
    inputs = []
    wrapped.inner.network.register_forward_hook(
        lambda _module, given, _out: inputs.append(given[0].clone())
    )
    x, y = digits.images("train", torch.arange(8)), digits.labels("train")[:8]
    draws = Draws.of(0, torch.arange(8), "train", 0)
    wrapped.step(x, y, step=0, draws=draws)
    assert seen["training"] is False
    assert torch.equal(seen["x"], x)
    assert len(inputs) == 1
    assert torch.equal(inputs[0], x + 1)
    assert (wrapped.steps, wrapped.batch_size) == (60, 64)


def test_an_image_is_shifted_by_its_own_offset_and_within_bounds():
    x = torch.zeros(64, 1, 8, 8)
    x[:, 0, 4, 4] = 1
    draws = Draws.of(0, torch.arange(64), "shift")
    moved = shifted(x, 1, draws=draws)
    places = {divmod(int(i), 8) for i in moved.flatten(1).argmax(1)}
    assert places == {(r, c) for r in (3, 4, 5) for c in (3, 4, 5)}
    assert moved.sum() == 64
    assert torch.equal(shifted(x[9:10], 1, draws=draws.take(torch.tensor([9]))), moved[9:10])
    assert shifted(x, 0, draws=draws) is x


def test_the_learning_rate_rises_for_a_tenth_and_falls_to_zero():
    rates = [one_cycle(step, 100, 2.0, rise=10) for step in range(100)]
    assert rates[:10] == pytest.approx([0.2 * (i + 1) for i in range(10)])
    assert max(rates) == pytest.approx(2.0)
    assert rates[9:] == sorted(rates[9:], reverse=True)
    assert 0 < rates[-1] < 0.01


def test_standard_r18_is_not_trained_here():
    with pytest.raises(BenchError, match="not trained here"):
        CLASSIFIERS.get("standard-r18")().recipe(is_adversarial=False)
