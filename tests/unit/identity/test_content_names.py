"""Names: what only a file's stem or a class's name says is told apart by its content, and nothing else is."""

from __future__ import annotations

import sys
from dataclasses import replace
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn

import benchmark
from benchmark.datasets.digits import Digits
from benchmark.engine.victims.classifier import Classifier
from benchmark.errors import BenchError
from benchmark.evaluation.execute.command import command_of
from benchmark.evaluation.prepare.given_networks import module_name
from benchmark.evaluation.prepare.loading import (
    load_classifier,
    load_dataset,
    load_task,
    published_name,
)
from benchmark.evaluation.prepare.prepare import bench_of, prepare
from benchmark.evaluation.prepare.request import Request
from benchmark.identity.content_names import known_by, without_content
from benchmark.plugins import DEFENSES
from benchmark.publishing.leaderboard.ranking import boards
from benchmark.publishing.leaderboard.same_content import has_content_of
from tests.helpers.sample_entries import toy

DEFENSE = """
from benchmark.engine.victims.defense import Defense, Derivative

class Mine(Defense):
    name, stochastic, gradient = "mine", False, Derivative.EXACT
    def purify(self, x, *, draws):
        return x * {}
"""


class Net(nn.Module):
    def __init__(self, bias=0.0):
        super().__init__()
        self.linear = nn.Linear(64, 10)
        nn.init.constant_(self.linear.bias, bias)

    def forward(self, x):
        return self.linear(x.flatten(1))


class Mirrored(Digits):
    """Of the shipped one's name, with other images."""

    def images(self, split, indices):
        return super().images(split, indices).flip(-1)


@pytest.fixture
def digits(tmp_path):
    return load_dataset("digits", folder=tmp_path)


@pytest.fixture(autouse=True)
def nets(monkeypatch):
    module = ModuleType("nets")
    module.Net = Net
    monkeypatch.setitem(sys.modules, "nets", module)


def file(folder, bias, name="best.safetensors"):
    folder.mkdir(exist_ok=True)
    torch.manual_seed(0)
    save_file(Net(bias).state_dict(), folder / name)
    return f"file:{folder / name}@nets:Net"


def npz(path, first):
    images = np.random.default_rng(0).integers(0, 255, (12, 8, 8), dtype=np.uint8)
    images[0, 0, 0] = first
    path.parent.mkdir(exist_ok=True)
    np.savez(path, images=images, labels=np.arange(12) % 10)
    return f"npz:{path}"


def test_a_hash_is_put_behind_a_name_once_and_is_taken_off_again():
    name = known_by("best", "12345678" * 8)
    assert name == known_by(name, "12345678" * 8) == "best-12345678"
    for label in ("{}", "{}(a=1)", "{}@net", "mean({}>a, none>b)", "{}+jpeg", "{}[digits]"):
        assert without_content(label.format(name)) == label.format("best")
    for plain in ("atop[digits]", "Gowal2021Improving_28_10_ddpm_100m", "a-1234567", "a-123456789"):
        assert without_content(plain) == plain


def test_two_files_of_one_stem_are_two_classifiers_and_one_file_is_one_wherever_it_lies(
    digits, tmp_path
):
    texts = [file(tmp_path / place, bias) for place, bias in (("a", 0), ("b", 1), ("c", 0))]
    first, second, copy = (load_classifier(t, dataset=digits, folder=tmp_path) for t in texts)
    assert first.name == copy.name == f"best-{first.sha256[:8]}@nets.Net" != second.name
    assert [published_name(text, "digits") for text in texts[:2]] == [first.name, second.name]
    both = load_classifier(f"mean({texts[0]}, {texts[1]})", dataset=digits, folder=tmp_path)
    assert both.name == f"mean({first.name}, {second.name})"


ARCHITECTURE = """
from torch import nn

def net():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10){})
"""


def test_other_code_with_the_same_weights_is_another_classifier(digits, tmp_path, monkeypatch):
    path = tmp_path / "best.safetensors"
    save_file(nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).state_dict(), path)
    found = []
    for place, more in (("a", ""), ("b", ", nn.Softmax(1)"), ("c", "")):
        (tmp_path / place).mkdir()
        (tmp_path / place / "my_arch.py").write_text(ARCHITECTURE.format(more))
        monkeypatch.syspath_prepend(str(tmp_path / place))
        text = f"file:{path}@my_arch:net"
        found.append(load_classifier(text, dataset=digits, folder=tmp_path))
        assert published_name(text, "digits") == found[-1].name
        monkeypatch.delitem(sys.modules, "my_arch")
    assert found[0].sha256 == found[1].sha256
    assert found[0].code == found[2].code != found[1].code
    assert found[0].name == found[2].name != found[1].name
    assert without_content(found[0].name) == without_content(found[1].name)


def test_classifiers_of_other_code_are_other_groups_of_a_board():
    first, second = toy("it"), toy("it")
    other = second.classifier.model_copy(update={"source_sha256": "c" * 64})
    second = second.model_copy(update={"classifier": other})
    (board,) = boards([first, second])
    assert len(board.groups) == 2
    assert not has_content_of(first, second)


def test_a_published_command_names_the_files_of_an_ensemble(tmp_path):
    texts = [file(tmp_path / place, bias) for place, bias in (("a", 0), ("b", 1))]
    request = Request(defense="none", model=f"mean({texts[0]}, {texts[1]}, digits-cnn)", samples=2)
    assert f"--model 'mean({texts[0]}, {texts[1]}, digits-cnn)'" in command_of(prepare(request))


@pytest.mark.parametrize("kind", ["npz", "folder"])
def test_two_datasets_of_one_stem_are_two_and_one_is_one_wherever_it_lies(tmp_path, kind):
    def made(place, first):
        if kind == "npz":
            return npz(tmp_path / place / "test.npz", first)
        for label in "ab":
            folder = tmp_path / place / "pets" / label
            folder.mkdir(parents=True)
            Image.new("L", (4, 4), first).save(folder / "1.png")
        return f"folder:{tmp_path / place / 'pets'}"

    first, second, copy = (
        load_dataset(made(place, value), folder=tmp_path)
        for place, value in (("a", 0), ("b", 1), ("c", 0))
    )
    stem = {"npz": "npz-test", "folder": "folder-pets"}[kind]
    assert first.name == copy.name == known_by(stem, first.content_sha256()) != second.name
    assert load_task(first, None, None, folder=tmp_path)[0].name == first.name


def test_a_dataset_from_python_is_called_by_its_content_unless_its_class_is_registered(tmp_path):
    names = [
        load_task(dataset, None, None, folder=tmp_path)[0].name
        for dataset in (Digits(folder=tmp_path), Mirrored(folder=tmp_path))
    ]
    assert names[0] == "digits"
    assert without_content(names[1]) == "digits" != names[1]


def test_networks_from_python_whose_classes_share_a_name_are_told_apart(digits, tmp_path):
    torch.manual_seed(0)
    first, second = Net(0), Net(1)
    assert module_name(first).startswith("Net-")
    assert module_name(first) != module_name(second)
    shipped = load_classifier("digits-cnn", dataset=digits, folder=tmp_path)
    assert module_name(shipped) == "digits-cnn"
    own = Classifier(first, name="own", classes=10, sha256="a" * 64)
    assert module_name(own) == "own-aaaaaaaa"


def test_two_classifiers_of_one_name_and_other_weights_are_refused_in_one_run():
    ready = prepare(Request(defense="none", dataset="digits", samples=2, protocol="quick"))
    liar = Classifier(Net(), name=ready.classifier.name, classes=10, sha256="a" * 64)
    with pytest.raises(BenchError, match="two classifiers of this run are called 'digits-cnn'"):
        bench_of(replace(ready, surrogates={"liar": liar}))


@pytest.fixture
def defenses(tmp_path, monkeypatch):
    """Two modules of other names, and two folders with modules of one name; each has a `mine`."""
    for place, factor in (("one/theirs", 1), ("two/theirs", 0.5), ("one/other", 1)):
        path = tmp_path / f"{place}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(DEFENSE.format(factor) + (f"# {place}" if "other" in place else ""))

    def label(folder, module):
        monkeypatch.syspath_prepend(str(tmp_path / folder))
        monkeypatch.delitem(sys.modules, module, raising=False)
        found = prepare(Request(defense=f"{module}:Mine", dataset="digits", samples=2)).label
        monkeypatch.delitem(sys.modules, module)
        return found

    return label


def test_defenses_of_one_name_are_told_apart_by_their_source(defenses):
    labels = [defenses("one", "theirs"), defenses("two", "theirs"), defenses("one", "other")]
    assert {without_content(label) for label in labels} == {"mine"}
    assert len(set(labels)) == 3
    assert defenses("one", "theirs") == labels[0]


def test_a_registered_defense_keeps_its_name_and_other_weights_show_in_it(tmp_path):
    def label(weights=None):
        return prepare(Request(defense="hgd", dataset="digits", samples=2, weights=weights)).label

    shipped = next(
        stage.setting.weights
        for stage in prepare(Request(defense="hgd", dataset="digits", samples=2)).stages
    )
    copied, other = tmp_path / "copy.safetensors", tmp_path / "other.safetensors"
    copied.write_bytes(shipped.read_bytes())
    save_file(load_file(shipped), other, {"kept": "by another hand"})
    assert label() == label(copied) == "hgd[digits]"
    assert without_content(label(other)) == "hgd[digits]" != label(other)
    assert DEFENSES.paths()["hgd"] == "defenses.hgd.hgd:HGD"


@pytest.mark.parametrize(
    ("argument", "option", "said"),
    [
        (
            {"model": "mnist-a"},
            {"model": "digits-cnn"},
            "model is given twice.*'mnist-a'.*'digits-cnn'",
        ),
        ({"dataset": "mnist"}, {"dataset": "digits"}, "dataset is given twice"),
        ({"threat": "linf:0.1"}, {"threat": "linf:0.2"}, "threat is given twice"),
        ({"defense": "jpeg"}, {}, "defense is given twice.*'jpeg'.*'none'"),
        ({"model": nn.Identity()}, {"model": nn.Identity()}, "'Identity'"),
    ],
)
def test_a_setting_given_twice_is_refused_where_the_two_differ(argument, option, said):
    options = Request(**{"defense": "none"} | option)
    with pytest.raises(BenchError, match=said) as caught:
        benchmark.evaluate(**argument, options=options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("given", [{}, {"defense": "none", "threat": "linf:0.05"}])
def test_what_options_say_is_evaluated(given, monkeypatch):
    asked = []
    monkeypatch.setattr(
        "benchmark.evaluation.execute.evaluate.run", lambda request, _: asked.append(request)
    )
    options = Request(defense="none", model="digits-mlp", threat="linf:0.05", dataset="digits")
    benchmark.evaluate(**given, options=options)
    assert asked == [options]


def test_no_defense_at_all_is_refused():
    with pytest.raises(BenchError, match="evaluate needs a defense"):
        benchmark.evaluate(dataset="digits")
