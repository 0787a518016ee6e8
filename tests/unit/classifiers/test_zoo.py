"""The RobustBench zoo: names resolve, checkpoints lie in its layout, and what is no checkpoint is refused."""

import os
import sys
from types import ModuleType

import pytest
import requests
import torch

from benchmark.classifiers.zoo import load_zoo, zoo_network
from benchmark.classifiers.zoo_names import resolve, zoo_models
from benchmark.classifiers.zoo_robustbench import robustbench_module
from benchmark.errors import BenchError
from benchmark.evaluation.prepare.loading import load_classifier, load_dataset
from benchmark.evaluation.prepare.prepare import prepare
from benchmark.evaluation.prepare.request import Request
from benchmark.files import downloads
from benchmark.files.known_hashes import file_sha256, recorded_sha256

GOWAL = "Gowal2021Improving_28_10_ddpm_100m"
R18 = "Gowal2021Improving_R18_ddpm_100m"


@pytest.fixture
def cifar10(tmp_path):
    return load_dataset("cifar10", folder=tmp_path)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        (GOWAL, GOWAL),
        ("Gowal2021", GOWAL),
        ("Gowal2021Improving_R18", R18),
        ("Carmon", "Carmon2019Unlabeled"),
        ("Standard", "Standard"),
        ("Standard@L2", "Standard@L2"),
        ("Standard@l2", "Standard@L2"),
        ("Standard@corruptions_3d", "Standard@corruptions"),
        ("Rebuffi2021Fixing", "Rebuffi2021Fixing_28_10_cutmix_ddpm"),
        ("Rebuffi2021@L2", "Rebuffi2021Fixing_28_10_cutmix_ddpm@L2"),
        ("Pang2022", "Pang2022Robustness_WRN28_10"),
        ("Wang2023Better", "Wang2023Better_WRN-28-10"),
        ("Sehwag2021", "Sehwag2021Proxy"),
        ("Debenedetti2022Light_XCiT-S12", "Debenedetti2022Light_XCiT-S12"),
        ("Rony2019Decoupling", "Rony2019Decoupling@L2"),
    ],
)
def test_a_name_is_exact_or_an_alias_or_a_unique_beginning(name, found):
    assert resolve(name, "cifar10").name == found


def test_a_name_that_a_listing_prints_finds_the_same_model_again():
    models = [m for dataset in ("cifar10", "cifar100", "imagenet") for m in zoo_models(dataset)]
    assert len(models) > 150
    assert all(resolve(m.name, m.dataset) == m for m in models)


def test_an_ambiguous_beginning_lists_its_candidates():
    with pytest.raises(BenchError, match="several RobustBench models") as caught:
        resolve("Gowal2021Imp", "cifar10")
    assert all(name in str(caught.value) for name in (GOWAL, R18))


@pytest.mark.parametrize("name", ["", "Nobody2030", "@L2", "Standard@l7"])
def test_what_is_nobodys_name_finds_nothing(name):
    assert resolve(name, "cifar10") is None
    assert resolve("Gowal2021", "mnist") is None


def test_a_wrong_name_gets_suggestions_out_of_the_zoo_and_our_own(cifar10):
    with pytest.raises(BenchError, match="Did you mean 'Carmon2019Unlabeled'"):
        load_classifier("carmon2019unlabelled", dataset=cifar10, folder=cifar10.folder)
    with pytest.raises(BenchError, match="Did you mean 'standard-r18'"):
        load_classifier("standart-r18", dataset=cifar10, folder=cifar10.folder)


def test_names_read_from_the_source_are_the_zoos_own():
    zoo = robustbench_module("robustbench.model_zoo")
    enums = robustbench_module("robustbench.model_zoo.enums")
    for dataset in enums.BenchmarkDataset:
        for norm, table in zoo.model_dicts[dataset].items():
            ours = [m.model for m in zoo_models(dataset.value) if m.norm == norm.value]
            assert ours == list(table)


def checkpoint(folder, name):
    """The true architecture with random weights, saved where RobustBench keeps its checkpoint."""
    model = resolve(name, "cifar10")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = zoo_network(model).eval()
    (file,) = model.files(folder)
    file.parent.mkdir(parents=True)
    torch.save(network.state_dict(), file)
    return network, file


def test_gowal2021_is_loaded_from_a_checkpoint_where_robustbench_keeps_it(cifar10, tmp_path):
    network, file = checkpoint(tmp_path, "Gowal2021")
    assert file == tmp_path / "models" / "cifar10" / "Linf" / f"{GOWAL}.pt"
    assert sum(p.numel() for p in network.parameters()) == 36_479_194  # a WRN-28-10
    before = torch.get_rng_state()
    found = load_classifier("Gowal2021", dataset=cifar10, folder=tmp_path)
    assert torch.equal(torch.get_rng_state(), before)
    x = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(found(x), network(x))
    assert found.name == GOWAL
    assert found.sha256 == file_sha256(file)
    assert found.classes == 10


class Bomb:
    def __reduce__(self):
        return (os.mkdir, ("exploded",))


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("html", "web page"),
        ("malicious", "could run code"),
        ("truncated", "damaged"),
        ("other network", "is not that of"),
    ],
)
def test_a_local_file_that_is_not_the_checkpoint_is_one_clear_line(
    tmp_path, monkeypatch, kind, message
):
    monkeypatch.chdir(tmp_path)
    model = resolve(R18, "cifar10")
    (file,) = model.files(tmp_path)
    file.parent.mkdir(parents=True)
    if kind == "html":
        file.write_text("<!DOCTYPE html><title>Google Drive - Quota exceeded</title>")
    else:
        torch.save({"w": Bomb()} if kind == "malicious" else {"w": torch.ones(99)}, file)
    if kind == "truncated":
        file.write_bytes(file.read_bytes()[:500])
    with pytest.raises(BenchError, match=message) as caught:
        load_zoo(model, folder=tmp_path, device="cpu", dtype=torch.float32)
    assert "\n" not in str(caught.value)
    assert str(file) in str(caught.value)
    assert not (tmp_path / "exploded").exists()


@pytest.fixture
def drive(monkeypatch):
    """Stands for gdown's download: calls what a test puts there with the file to be written."""
    answers = {}

    def download(*, id, output, quiet, use_cookies):
        assert quiet
        answers["give"](id, output)

    monkeypatch.setattr("gdown.download", download)
    monkeypatch.setattr(downloads, "PAUSES", (0.01,))
    return answers


@pytest.mark.parametrize("kind", ["no network", "html", "nothing", "malicious"])
def test_a_failed_download_names_file_and_folder_and_leaves_nothing(
    drive, tmp_path, monkeypatch, kind
):
    monkeypatch.chdir(tmp_path)
    model = resolve(R18, "cifar10")

    def give(drive_id, sink):
        assert drive_id == model.drive_ids[0]
        if kind == "no network":
            raise requests.ConnectionError("no route to host")
        if kind == "html":
            sink.write(b"<html>Quota exceeded</html>")
        if kind == "malicious":
            torch.save({"w": Bomb()}, sink)

    drive["give"] = give
    with pytest.raises(BenchError, match="could not be downloaded") as caught:
        load_zoo(model, folder=tmp_path, device="cpu", dtype=torch.float32)
    assert f"{R18}.pt" in str(caught.value)
    assert str(tmp_path / "models" / "cifar10" / "Linf") in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not (tmp_path / "exploded").exists()


def test_a_download_happens_once(drive, tmp_path):
    network, file = checkpoint(tmp_path, R18)
    stored = file.read_bytes()
    file.unlink()
    calls = []

    def give(drive_id, sink):
        calls.append(drive_id)
        sink.write(stored)

    drive["give"] = give
    x = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    for _ in range(2):
        found = load_zoo(
            resolve(R18, "cifar10"), folder=tmp_path, device="cpu", dtype=torch.float32
        )
        assert torch.equal(found(x), network(x).detach())
    assert calls == list(resolve(R18, "cifar10").drive_ids)
    kept = sorted(path.name for path in file.parent.iterdir())
    assert kept == [f"{R18}.pt", f"{R18}.pt.sha256"]
    assert recorded_sha256(file) == found.sha256 == file_sha256(file)


def test_a_checkpoint_that_is_not_the_one_first_used_is_refused_here_and_from_the_drive(
    drive, tmp_path
):
    _, file = checkpoint(tmp_path, R18)
    model = resolve(R18, "cifar10")
    first = load_zoo(model, folder=tmp_path, device="cpu", dtype=torch.float32).sha256
    state = torch.load(file, weights_only=True)
    torch.save({name: value * 2 for name, value in state.items()}, file)
    with pytest.raises(BenchError, match="has changed") as caught:
        load_zoo(model, folder=tmp_path, device="cpu", dtype=torch.float32)
    assert first in str(caught.value)
    assert f"{R18}.pt.sha256" in str(caught.value)
    other = file.read_bytes()
    file.unlink()
    drive["give"] = lambda drive_id, sink: sink.write(other)
    with pytest.raises(BenchError, match=f"should be {first}"):
        load_zoo(model, folder=tmp_path, device="cpu", dtype=torch.float32)
    assert not file.exists()


def test_the_alias_for_autoattack_is_gone_after_the_import_and_gives_way_to_a_real_one(
    monkeypatch,
):
    robustbench_module("robustbench.utils")
    assert "autoattack" not in sys.modules
    real = ModuleType("autoattack")
    monkeypatch.setitem(sys.modules, "autoattack", real)
    robustbench_module("robustbench.model_zoo")
    assert sys.modules["autoattack"] is real


def test_a_name_that_nobody_has_is_said_before_anything_is_downloaded(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_OFFLINE", "1")
    with pytest.raises(BenchError, match="no classifier for cifar100 is called 'nonesuch'"):
        prepare(Request(defense="none", model="nonesuch", dataset="cifar100", data=tmp_path))
