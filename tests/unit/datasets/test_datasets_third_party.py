"""Datasets of others: an installed package's entry point or `module:Class`, held to the contract."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmark.engine.dataset import Dataset
from benchmark.errors import BenchError, ContractBroken
from benchmark.evaluation.execute.run import run
from benchmark.evaluation.prepare.loading import load_dataset
from benchmark.evaluation.prepare.request import Request
from tests.helpers.tiny_task import dataset as tiny_dataset
from tests.helpers.tiny_task import request

ROOT = Path(__file__).resolve().parents[3]
PACKAGE = '''
"""A package of somebody else: a dataset of stripes, and a classifier of it."""

from pathlib import Path

import torch
from safetensors.torch import save_file

from benchmark.classifiers.base import ClassifierSource
from benchmark.engine.dataset import Dataset


class Stripes(Dataset):
    """Bright upper or lower halves."""

    name = "stripes"
    shape = (1, 6, 6)
    classes = 4
    threat = "linf:0.05"
    model = ""

    def labels(self, split):
        return torch.arange(40 if split == "test" else 80) % 4

    def images(self, split, indices):
        x = torch.full((len(indices), 1, 6, 6), 0.3)
        for row, index in enumerate(indices.tolist()):
            label = index % 4
            x[row, 0, 3 * (label // 2) : 3 * (label // 2) + 3, 3 * (label % 2) : 3 * (label % 2) + 3] = 0.7
        return x


class Halves(ClassifierSource):
    """A linear classifier of them."""

    name = "stripes-linear"
    dataset = "stripes"
    classes = 4

    def network(self):
        return torch.nn.Sequential(torch.nn.AvgPool2d(3), torch.nn.Flatten(), torch.nn.Linear(4, 4))

    def weights(self, folder):
        path = Path(folder) / "stripes.safetensors"
        save_file({"2.weight": torch.eye(4), "2.bias": torch.zeros(4)}, path)
        return path
'''
ENTRY_POINTS = """
[purifybench.datasets]
stripes = their_stripes:Stripes

[purifybench.classifiers]
stripes-linear = their_stripes:Halves
"""
PROTOCOL = """
name: small
version: 1
summary: a few steps
samples: 16
shard_size: 8
attacks:
  - {id: clean, column: clean, knowledge: oblivious, attack: clean}
  - {id: pgd, column: adaptive, knowledge: white-box, attack: pgd, arguments: {steps: 2}}
"""


@pytest.fixture
def installed(tmp_path):
    """A folder on the path that holds the package as pip would leave it."""
    site = tmp_path / "site"
    about = site / "their_stripes-1.0.dist-info"
    about.mkdir(parents=True)
    (site / "their_stripes.py").write_text(PACKAGE)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: their-stripes\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(ENTRY_POINTS)
    (tmp_path / "small.yaml").write_text(PROTOCOL)
    (tmp_path / "data").mkdir()
    return site


def bench(site, *words):
    folder = site.parent
    path = os.pathsep.join([str(site), str(ROOT)])
    return subprocess.run(
        [sys.executable, "-m", "benchmark", *words],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": path, "BENCH_DATA": str(folder / "data")},
    )


@pytest.mark.parametrize("dataset", ["stripes", "their_stripes:Stripes"])
def test_a_dataset_of_another_package_is_evaluated_to_an_entry(installed, dataset):
    model = "stripes-linear" if dataset == "stripes" else "their_stripes:Halves"
    words = ["--defense", "none", "--dataset", dataset, "--model", model]
    done = bench(installed, "run", *words, "--protocol", "small.yaml", "--workers", "1", "--json")
    assert done.returncode == 0, done.stderr
    (entry,) = json.loads(done.stdout)
    assert entry["status"] == "complete"
    assert entry["dataset"]["name"] == "stripes"
    assert entry["dataset"]["n"] == 16
    assert entry["threat"]["text"] == "linf:0.05"
    assert entry["clean"]["single"]["value"] == 1.0
    assert f"--dataset {dataset}" in entry["command"]
    page = installed.parent / "results" / "stripes" / "linf-0.05" / "README.md"
    assert "stripes test" in page.read_text()


def test_a_dataset_of_another_package_is_listed_without_importing_it(installed):
    (installed / "their_stripes.py").write_text("raise RuntimeError('imported')")
    done = bench(installed, "list", "datasets", "--json")
    assert done.returncode == 0, done.stderr
    assert "stripes" in [row["name"] for row in json.loads(done.stdout)]


class Wrong(Dataset):
    """A dataset that breaks its contract in the way that it is told to."""

    shape = (1, 4, 4)
    name = "wrong"
    classes = 4
    threat = "linf:0.1"
    model = ""
    how = ""

    def labels(self, split):
        labels = tiny_dataset().labels(split)
        return {
            "label dtype": labels.float(),
            "label range": labels + 1,
            "label shape": labels[:, None],
            "no labels": labels[:0],
        }.get(self.how, labels)

    def images(self, split, indices):
        x = tiny_dataset().images(split, indices)
        return {
            "bytes": (x * 255).byte(),
            "range": x * 255,
            "nan": x / 0 * 0,
            "shape": x[:, :, :3],
            "too few": x[:-1],
        }.get(self.how, x)

    def order(self, split="test"):
        order = torch.arange(12)
        return {"twice": order % 6, "outside": order + 1}.get(self.how, order)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("label dtype", "must return int64"),
        ("label range", "labels from 0 to 3; got labels from"),
        ("label shape", r"of shape \(n,\)"),
        ("no labels", "at least one"),
        ("bytes", "must return float32"),
        ("range", r"values in \[0, 1\]"),
        ("nan", "got nan to nan"),
        ("shape", r"of shape \(\d+, 1, 4, 4\)"),
        ("too few", r"of shape \(\d+, 1, 4, 4\)"),
        ("twice", "each at most once"),
        ("outside", "each at most once"),
    ],
)
def test_a_dataset_that_breaks_its_contract_is_refused_in_one_line(tmp_path, how, message):
    dataset = Wrong(folder=tmp_path)
    dataset.how = how
    with pytest.raises(ContractBroken, match=message) as caught:
        run(request(tmp_path / "runs", dataset=dataset))
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.rglob("*.shard"))


def test_one_that_keeps_it_is_evaluated(tmp_path):
    assert run(request(tmp_path, dataset=Wrong(folder=tmp_path))).status == "complete"


def test_a_missing_model_is_named_before_anything_is_downloaded(tmp_path, monkeypatch):
    monkeypatch.setattr("benchmark.datasets.archives.fetch", None)  # would crash if it were called
    with pytest.raises(BenchError, match="'cifar100' has no default classifier; name one with"):
        run(Request(defense="none", dataset="cifar100", data=tmp_path))


class Undeclared(Dataset):
    """Says nothing of itself."""

    def labels(self, split):
        return torch.zeros(1, dtype=torch.int64)

    def images(self, split, indices):
        return torch.zeros(1, 1, 4, 4)


def test_a_dataset_that_does_not_say_what_it_is_is_refused_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "their_undeclared", sys.modules[__name__])
    with pytest.raises(ContractBroken, match="does not say its name, shape, classes"):
        load_dataset("their_undeclared:Undeclared", folder=tmp_path)
    with pytest.raises(BenchError, match="is no dataset: it must be a subclass"):
        load_dataset("their_undeclared:ROOT", folder=tmp_path)
