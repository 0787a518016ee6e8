"""Classifiers that a user brings: files are read as data alone, wrong files, networks and names are refused."""

import os
import pickle
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from benchmark.classifiers import small
from benchmark.errors import BenchError
from benchmark.evaluation.prepare.loading import load_classifier, load_dataset
from benchmark.files.known_hashes import file_sha256
from benchmark.identity.content_names import without_content

WEIGHTS = Path(small.__file__).parent / "weights"


@pytest.fixture
def digits(tmp_path):
    return load_dataset("digits", folder=tmp_path)


def test_loading_leaves_the_global_generator_as_it_was(digits, tmp_path):
    path = tmp_path / "net.safetensors"
    path.write_bytes((WEIGHTS / "digits-cnn.safetensors").read_bytes())
    before = torch.get_rng_state()
    for name in ("digits-cnn", f"file:{path}@digits-cnn"):
        load_classifier(name, dataset=digits, folder=tmp_path)
    assert torch.equal(torch.get_rng_state(), before)


class Linear(nn.Module):
    """An architecture that a user brings along."""

    def __init__(self, classes=10):
        super().__init__()
        self.fc = nn.Linear(64, classes)

    def forward(self, x):
        return self.fc(x.flatten(1))


@pytest.fixture
def architectures(monkeypatch):
    monkeypatch.setitem(sys.modules, "my_net", sys.modules[__name__])


def five():
    return Linear(5)


def nothing():
    return "no module"


@pytest.mark.parametrize("form", ["safetensors", "pt", "checkpoint", "prefixed"])
def test_a_file_is_loaded_into_a_named_or_brought_architecture(
    digits, architectures, tmp_path, form
):
    torch.manual_seed(0)
    net = Linear()
    state = net.state_dict()
    path = tmp_path / ("net.safetensors" if form == "safetensors" else "net.pt")
    if form == "safetensors":
        save_file(state, path)
    elif form == "pt":
        torch.save(state, path)
    elif form == "checkpoint":
        torch.save({"state_dict": state, "epoch": 3}, path)
    else:
        torch.save({f"module.{name}": value for name, value in state.items()}, path)
    found = load_classifier(f"file:{path}@my_net:Linear", dataset=digits, folder=tmp_path)
    x = digits.images("test", torch.arange(4))
    assert torch.equal(found(x), net(x))
    assert found.sha256 == file_sha256(path)
    assert without_content(found.name) == "net@my_net.Linear" != found.name


def test_a_file_may_have_the_network_of_one_of_our_classifiers(digits, tmp_path):
    path = tmp_path / "a@b.safetensors"
    path.write_bytes((WEIGHTS / "digits-cnn.safetensors").read_bytes())
    found = load_classifier(f"file:{path}@digits-cnn", dataset=digits, folder=tmp_path)
    shipped = load_classifier("digits-cnn", dataset=digits, folder=tmp_path)
    x = digits.images("test", torch.arange(4))
    assert torch.equal(found(x), shipped(x))
    assert found.sha256 == shipped.sha256


class Bomb:
    def __reduce__(self):
        return (os.mkdir, ("exploded",))


@pytest.mark.parametrize("form", ["zip", "legacy", "bare"])
def test_a_malicious_pickle_is_refused_and_runs_nothing(digits, tmp_path, monkeypatch, form):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "net.pt"
    if form == "bare":
        path.write_bytes(pickle.dumps({"fc.weight": Bomb()}))
    else:
        torch.save({"fc": Bomb()}, path, _use_new_zipfile_serialization=form == "zip")
    with pytest.raises(BenchError, match="could run code"):
        load_classifier(f"file:{path}@digits-cnn", dataset=digits, folder=tmp_path)
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("missing", "no weights file"),
        ("html", "web page"),
        ("empty", "empty"),
        ("truncated", "damaged|whole safetensors"),
        ("truncated pt", "damaged"),
        ("list", "no state dict"),
        ("other network", "not of this architecture"),
        ("other shapes", "not of this architecture"),
    ],
)
def test_a_wrong_file_is_one_clear_line(digits, architectures, tmp_path, kind, message):
    path = tmp_path / "net.pt"
    shipped = (WEIGHTS / "digits-cnn.safetensors").read_bytes()
    architecture = "digits-cnn"
    if kind in ("html", "empty"):
        path.write_bytes({"html": b"<!DOCTYPE html>", "empty": b""}[kind])
    elif kind == "truncated":
        path.write_bytes(shipped[:5000])
    elif kind == "truncated pt":
        torch.save(Linear().state_dict(), path)
        path.write_bytes(path.read_bytes()[:1500])
    elif kind == "list":
        torch.save([1, 2], path)
    elif kind == "other network":
        torch.save(Linear().state_dict(), path)
    elif kind == "other shapes":
        architecture = "my_net:Linear"
        torch.save(five().state_dict(), path)
    with pytest.raises(BenchError, match=message) as caught:
        load_classifier(f"file:{path}@{architecture}", dataset=digits, folder=tmp_path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("architecture", "message"),
    [
        ("", "expected file:PATH@ARCHITECTURE"),
        ("digits-cn", "Did you mean 'digits-cnn'"),
        ("my_net:Nowhere", "has no 'Nowhere'"),
        ("nowhere_at_all:Net", "cannot be imported"),
        ("my_net:nothing", "made no torch.nn.Module"),
        ("my_net:five", r"logits of shape \(1, 5\)"),
        ("mnist-cnn", "not of this architecture"),
    ],
)
def test_a_wrong_architecture_is_one_clear_line(
    digits, architectures, tmp_path, architecture, message
):
    path = tmp_path / "net.pt"
    torch.save(five().state_dict(), path)
    at = f"@{architecture}" if architecture else ""
    with pytest.raises(BenchError, match=message):
        load_classifier(f"file:{path}{at}", dataset=digits, folder=tmp_path)


def test_a_network_for_other_images_is_refused(tmp_path, digits):
    path = tmp_path / "net.safetensors"
    path.write_bytes((WEIGHTS / "mnist-mlp.safetensors").read_bytes())
    with pytest.raises(BenchError, match=r"does not take images of shape \(1, 8, 8\)"):
        load_classifier(f"file:{path}@mnist-mlp", dataset=digits, folder=tmp_path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("digits-cn", "Did you mean 'digits-cnn'"),
        ("mnist-cnn", "is for mnist, not for digits"),
        ("nowhere_at_all:Source", "cannot be imported"),
        ("my_net:Linear", "is no classifier"),
    ],
)
def test_a_wrong_name_is_one_clear_line(digits, architectures, name, message):
    with pytest.raises(BenchError, match=message):
        load_classifier(name, dataset=digits, folder=digits.folder)
