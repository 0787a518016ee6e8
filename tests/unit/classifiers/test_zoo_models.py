"""All of the zoo: every row has a name, a threat, a preparation and files, without torch."""

import json
import subprocess
import sys

import pytest

from benchmark.classifiers import zoo_names
from benchmark.classifiers.catalog import (
    classifier_note,
    file_parts,
    home_of,
    preparation_of,
    threat_of,
)
from benchmark.classifiers.zoo_names import ALIASES, CLASSES, resolve, zoo_models
from benchmark.classifiers.zoo_robustbench import robustbench_module
from benchmark.cli.main import main
from benchmark.datasets.preparation import Preparation
from benchmark.engine.dataset import Dataset
from benchmark.engine.threat import Threat
from benchmark.errors import BenchError
from benchmark.evaluation.prepare.loading import load_task
from benchmark.plugins import DATASETS
from benchmark.registry import path_of

ALL = [model for dataset in CLASSES for model in zoo_models(dataset)]


def test_every_row_can_be_had_from_somewhere_and_no_two_share_a_file(tmp_path):
    assert len(ALL) == 206
    assert all(bool(m.drive_ids) != bool(m.url) for m in ALL)
    assert all(m.url.startswith("https://") for m in ALL if m.url)
    files = [file for m in ALL for file in m.files(tmp_path)]
    assert len(files) == len(set(files))


def test_every_row_resolves_by_its_name_and_has_the_budget_of_its_board():
    budgets = {"Linf": "linf:8/255", "L2": "l2:0.5", "corruptions": ""}
    for m in ALL:
        wanted = "linf:4/255" if (m.dataset, m.norm) == ("imagenet", "Linf") else budgets[m.norm]
        assert resolve(m.name, m.dataset) == m
        assert threat_of(m.name, m.dataset) == wanted
        assert not wanted or Threat.parse(wanted).eps > 0
        assert home_of(m.name) is not None
        assert f"RobustBench, {wanted or m.norm}" in classifier_note(m.name, m.dataset)


def test_a_name_found_whole_in_one_dataset_belongs_there_though_it_begins_others():
    assert home_of("Gowal2021") == "cifar10"
    assert home_of("Jia2022LAS-AT_34_20") == "cifar100"
    assert home_of("Salman2020Do_R50") == "imagenet"
    assert home_of("Cui2020Learnable_34_10_LBGAT0") == "cifar100"


def test_the_rows_that_timm_registers_are_those_that_robustbench_finds_there():
    robustbench_module("robustbench.model_zoo")
    timm = robustbench_module("timm")
    for m in ALL:
        name = f"{m.model.lower().replace('-', '_')}_{m.dataset}_{m.norm.lower()}"
        assert m.timm == (name if timm.is_model(name) else "")
        if m.timm:
            configuration = timm.get_pretrained_cfg(m.timm)
            assert m.url == configuration.url


def test_images_are_prepared_as_robustbench_prepares_them():
    data = robustbench_module("robustbench.data")
    enums = robustbench_module("robustbench.model_zoo.enums")
    for m in ALL:
        dataset, norm = enums.BenchmarkDataset(m.dataset), enums.ThreatModel(m.norm)
        found = preparation_of(m.name, m.dataset)
        if m.dataset != "imagenet":
            assert found == ""
            continue
        theirs = data.get_preprocessing(dataset, norm, m.model, None)
        if not m.timm:
            assert theirs is data.PREPROCESSINGS[found]
            continue
        resize, crop, _ = theirs.transforms
        assert found == f"resize:{resize.size}:{resize.interpolation.value},crop:{crop.size[0]}"


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("Wong2020Fast", "Crop288"),
        ("Mo2022When_ViT-B", "Res224"),
        ("file:/tmp/a@b.pt@Wong2020Fast", "Crop288"),
        ("file:net.pt@Tian2022Deeper_DeiT-S@corruptions", "resize:248:bicubic,crop:224"),
        ("file:net.pt@torchvision.models:resnet18", ""),
        ("my_net:Source", ""),
    ],
)
def test_a_file_is_prepared_for_as_its_architecture_is(name, found):
    assert preparation_of(name, "imagenet") == found
    assert preparation_of(name, "cifar10") == ""


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("file:net.pt@digits-cnn", ("net.pt", "digits-cnn")),
        ("file:a@b.pt@Standard@L2", ("a@b.pt", "Standard@L2")),
        ("file:net.pt@L2", ("net.pt", "L2")),
        ("file:net.pt", ("", "")),
        ("file:@Standard", ("", "")),
    ],
)
def test_a_path_may_hold_an_at_and_an_architecture_its_norm(text, parts):
    assert file_parts(text) == parts


class Photographs(Dataset):
    """ImageNet as far as preparing is concerned."""

    name, shape, classes, threat, model = "imagenet", (3, 224, 224), 1000, "linf:4/255", ""
    preparation = ""

    def labels(self, split):
        raise AssertionError

    def images(self, split, indices):
        raise AssertionError

    def prepared_for(self, preparation):
        found = Photographs(folder=self.folder)
        found.preparation = preparation
        return found


def test_a_task_takes_its_images_as_its_model_wants_them(tmp_path, monkeypatch):
    monkeypatch.setitem(DATASETS._own, "imagenet", path_of(Photographs))
    dataset = Photographs(folder=tmp_path)
    found, threat = load_task(dataset, "Wong2020Fast", None, folder=tmp_path)
    assert found.preparation == "Crop288"
    assert dataset.preparation == ""
    assert threat == Threat.parse("linf:4/255")
    assert load_task(dataset, None, None, folder=tmp_path)[0] is dataset
    assert load_task(dataset, "AlexNet@corruptions", None, folder=tmp_path)[1] == threat


@pytest.mark.parametrize(
    ("model", "side"),
    [("Wong2020Fast", 288), ("Mo2022When_ViT-B", 224), ("Debenedetti2022Light_XCiT-S12", 224)],
)
def test_imagenet_has_the_shape_that_its_model_wants(model, side, tmp_path):
    dataset, threat = load_task("imagenet", model, None, folder=tmp_path)
    assert dataset.shape == (3, side, side)
    assert dataset.preparation == preparation_of(model, "imagenet")
    assert threat == Threat.parse("linf:4/255")


def test_every_preparation_of_the_zoo_is_understood():
    for m in zoo_models("imagenet"):
        side = 288 if m.preparation == "Crop288" else 224
        assert Preparation.parse(m.preparation).shape == (3, side, side)


def test_every_alias_stands_for_a_model_and_is_listed_with_it():
    for (dataset, short), model in ALIASES.items():
        assert resolve(short, dataset).model == model
        assert short in classifier_note(model, dataset)
        assert sum(m.model.startswith(short) for m in zoo_models(dataset)) > 1  # else it needs none
        assert short not in {m.model for m in zoo_models(dataset)}


def test_an_alias_that_a_norm_lacks_is_a_beginning_like_any_other():
    with pytest.raises(BenchError, match="Gowal2020Uncovering, Gowal2020Uncovering_extra;"):
        resolve("Gowal2020@L2", "cifar10")


def test_a_row_without_any_file_says_so(monkeypatch):
    bare = zoo_names.ZooModel("Nobody2030", "cifar10", "Linf")
    monkeypatch.setattr(zoo_names, "_all_models", lambda _dataset: (bare,))
    with pytest.raises(BenchError, match=r"without a checkpoint; .* file:PATH@Nobody2030"):
        resolve("Nobody2030", "cifar10")


def test_the_listing_says_of_each_model_its_norm_budget_and_preparation(capsys):
    assert main(["list", "models", "--dataset", "imagenet", "--json"]) == 0
    rows = {row["name"]: row["what"] for row in json.loads(capsys.readouterr().out)}
    assert rows["Wong2020Fast"] == "RobustBench, linf:4/255; images by Crop288"
    assert "2 checkpoints" in rows["Bai2024MixedNUTS"]
    assert "weights by URL" in rows["Standard_R50@corruptions"]


def test_listing_the_zoo_imports_neither_torch_nor_what_it_reads():
    program = (
        "import sys\n"
        "from benchmark.classifiers.catalog import classifier_names, classifier_note\n"
        "for d in ('cifar10', 'cifar100', 'imagenet'):\n"
        "    assert all(classifier_note(name, d) for name in classifier_names(d))\n"
        "assert not {'torch', 'robustbench', 'timm', 'torchvision'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
