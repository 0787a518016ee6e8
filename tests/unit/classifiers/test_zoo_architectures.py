"""Every family of the zoo loads by its name from a placed checkpoint: as data alone, whole, and offline."""

import importlib.util
import socket
from argparse import Namespace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from benchmark.classifiers import zoo_robustbench
from benchmark.classifiers.state import load_checkpoint
from benchmark.classifiers.zoo import load_zoo
from benchmark.classifiers.zoo_names import CLASSES, ZooModel, resolve
from benchmark.engine.dataset import Dataset
from benchmark.engine.victims.classifier import Classifier
from benchmark.errors import BenchError
from benchmark.evaluation.prepare.loading import load_classifier
from benchmark.files.known_hashes import file_sha256
from tests.helpers.zoo_checkpoints import (
    ARCHITECTURES,
    images_of,
    model_of,
    network_of,
    place,
    shape_of,
)

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(*_args, **_kwargs):
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)


class Task(Dataset):
    """A dataset as far as loading a classifier needs it."""

    def labels(self, split):
        raise AssertionError

    def images(self, split, indices):
        raise AssertionError


def task(model, folder):
    found = Task(folder=folder)
    found.name, found.shape, found.classes = model.dataset, shape_of(model), CLASSES[model.dataset]
    return found


def logits(network, model):
    with torch.no_grad():
        return network(images_of(model))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_placed_checkpoint_is_loaded_by_name(architecture, tmp_path, monkeypatch):
    monkeypatch.setattr(torch, "load", only_weights(torch.load))
    model = model_of(architecture)
    network = network_of(model)
    place(model, network, tmp_path)
    dataset = task(model, tmp_path)
    found = load_classifier(model.name, dataset=dataset, folder=tmp_path)
    assert torch.equal(logits(found, model), logits(network, model))
    assert not any(parameter.requires_grad for parameter in found.parameters())
    assert found.name == model.name
    files = model.files(tmp_path)
    if len(files) == 1:
        assert found.sha256 == file_sha256(files[0])
    for file in files:
        file.unlink()  # some are large, and pytest keeps folders


def only_weights(load):
    """`torch.load` as torch 2.4 has it (pickles run unless told otherwise), which must be told."""

    def checked(*args, weights_only=False, **options):
        assert weights_only is True
        return load(*args, weights_only=True, **options)

    return checked


@pytest.mark.parametrize(
    ("name", "dataset"),
    [
        ("Andriushchenko2020Understanding", "cifar10"),
        ("Kireev2021Effectiveness_RLAT@corruptions", "cifar10"),
    ],
)
def test_the_last_of_several_states_in_one_checkpoint_is_taken(name, dataset, tmp_path):
    model = resolve(name, dataset)
    network = network_of(model)
    (file,) = model.files(tmp_path)
    file.parent.mkdir(parents=True)
    best = {name: torch.zeros_like(value) for name, value in network.state_dict().items()}
    torch.save({"last": network.state_dict(), "best": best}, file)
    found = load_zoo(model, folder=tmp_path, device="cpu", dtype=torch.float32)
    assert torch.equal(logits(found, model), logits(network, model))


def test_options_and_numbers_beside_the_weights_are_skipped_and_not_made(tmp_path, monkeypatch):
    model = model_of("WideResNet")
    network = network_of(model)
    (file,) = model.files(tmp_path)
    file.parent.mkdir(parents=True)
    beside = {"args": Namespace(lr=0.1), "accuracy": np.float64(0.5), "curve": np.arange(3.0)}
    torch.save({"state_dict": network.state_dict(), **beside}, file)
    monkeypatch.setattr(Namespace, "__init__", None)
    before = set(torch.serialization.get_safe_globals())
    found = load_zoo(model, folder=tmp_path, device="cpu", dtype=torch.float32)
    assert torch.equal(logits(found, model), logits(network, model))
    assert set(torch.serialization.get_safe_globals()) == before
    read = load_checkpoint(file)
    assert not isinstance(read["args"], Namespace)
    assert not isinstance(read["accuracy"], float)
    assert not isinstance(read["curve"], np.ndarray)


class Other:
    """Something that no checkpoint needs."""


def test_anything_else_beside_the_weights_is_refused_by_its_name(tmp_path):
    file = tmp_path / "net.pt"
    torch.save({"w": torch.ones(1), "other": Other()}, file)
    with pytest.raises(BenchError, match=r"plain data \(.*Other\) and could run code"):
        load_checkpoint(file)


@pytest.mark.parametrize("architecture", ["torchvision ResNet, normalised", "WideResNet"])
@pytest.mark.parametrize("form", ["state", "checkpoint", "safetensors"])
def test_a_file_may_be_a_state_or_a_checkpoint_of_an_architecture(architecture, form, tmp_path):
    model = model_of(architecture)
    network = network_of(model)
    file = tmp_path / "net.pt"
    if form == "safetensors":
        save_file(network.state_dict(), file)
    elif form == "state":
        torch.save(network.state_dict(), file)
    else:
        place(model, network, tmp_path)
        model.files(tmp_path)[0].rename(file)
    found = load_classifier(
        f"file:{file}@{model.name}", dataset=task(model, tmp_path), folder=tmp_path
    )
    assert torch.equal(logits(found, model), logits(network, model))


@pytest.mark.parametrize(
    "architecture",
    ["WideResNet", "torchvision ResNet, normalised", "torchvision's own weights", "XCiT"],
)
def test_a_checkpoint_that_lacks_weights_is_refused_though_robustbench_would_take_it(
    architecture, tmp_path
):
    model = model_of(architecture)
    network = network_of(model)
    place(model, network, tmp_path)
    (file,) = model.files(tmp_path)
    state = torch.load(file, weights_only=True)
    gone = next(name for name in reversed(state) if name.endswith("weight"))
    del state[gone]
    torch.save(state, file)
    with pytest.raises(BenchError, match=gone) as caught:
        load_zoo(model, folder=tmp_path, device="cpu", dtype=torch.float32)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("architecture", ["torchvision's own weights", "XCiT, normalised"])
def test_a_missing_file_with_a_url_is_asked_for_there_and_named_where_offline(
    architecture, tmp_path, monkeypatch
):
    monkeypatch.setenv("BENCH_OFFLINE", "1")
    model = model_of(architecture)
    with pytest.raises(BenchError, match="offline") as caught:
        load_zoo(model, folder=tmp_path, device="cpu", dtype=torch.float32)
    (file,) = model.files(tmp_path)
    assert all(part in str(caught.value) for part in (model.url, file.name, str(file.parent)))
    assert "\n" not in str(caught.value)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_robustbench_is_left_as_it_was():
    utils = zoo_robustbench.robustbench_module("robustbench.utils")
    before = dict(vars(utils))
    with pytest.raises(KeyError):
        zoo_robustbench.loaded(ZooModel("Nobody2030", "cifar10", "Linf"), [])
    assert dict(vars(utils)) == before
    assert utils.torch is torch


def test_a_constructor_that_wants_a_gpu_is_built_without_one(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    before = torch.Tensor.cuda

    def make():
        print("a constructor prints")
        network = torch.nn.Linear(2, 2)
        network.mean = torch.ones(2).cuda()
        return network

    assert zoo_robustbench.built(make).mean.device.type == "cpu"
    assert torch.Tensor.cuda is before
    assert capsys.readouterr().out == ""


def test_the_swish_of_the_zoo_has_its_derivative_without_a_warning():
    zoo_robustbench.built(lambda: torch.nn.Linear(1, 1))
    name = "robustbench.model_zoo.architectures.dm_wide_resnet"
    swish = zoo_robustbench.robustbench_module(name).Swish()
    x = torch.linspace(-4, 4, 50, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(swish, x)


def test_a_forward_pass_writes_into_no_weight():
    place = "robustbench.model_zoo.architectures"
    mended = zoo_robustbench.robustbench_module(f"{place}.boosting_wide_resnet")
    spec = importlib.util.spec_from_file_location(f"{place}.as_it_came", mended.__file__)
    theirs = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(theirs)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        small = {"depth": 10, "widen_factor": 1}
        network = zoo_robustbench.built(lambda: mended.BoostingWideResNet(**small).eval())
        other = theirs.BoostingWideResNet(**small).eval()
    other.load_state_dict(network.state_dict())
    before = network.fc.weight.detach().clone()
    x = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert torch.equal(network(x), other(x))
    assert torch.equal(network.fc.weight, before)
    assert not torch.equal(other.fc.weight, before)
    places = Classifier(network, name="n", classes=10, sha256="").positions((3, 32, 32))
    assert places["pooled"].tap == "fc:input"
