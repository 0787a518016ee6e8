"""Datasets: fixed splits, exact pixels, nested subsets, and one clear line where files are wrong."""

import gzip
import hashlib
import os
import shutil
import struct
from pathlib import Path
from urllib.request import urlopen

import pytest
import torch
from sklearn.datasets import load_digits
from torchvision import datasets as sources

from benchmark.datasets.vision import CIFAR10, MNIST
from benchmark.engine.threat import Threat
from benchmark.errors import BenchError
from benchmark.evaluation.prepare.loading import data_folder, load_dataset
from tests.helpers.servers import body, serving


@pytest.fixture(scope="module")
def real():
    folder = os.environ.get("BENCH_DATA")
    if not folder:
        pytest.skip("BENCH_DATA names no folder with the real datasets")
    return Path(folder)


def test_digits_are_scikit_learns_cut_once_and_balanced(tmp_path):
    digits = load_dataset("digits", folder=tmp_path)
    every = {split: torch.arange(len(digits.labels(split))) for split in ("train", "test")}
    assert {split: len(i) for split, i in every.items()} == {"train": 1297, "test": 500}
    assert digits.labels("test").bincount().tolist() == [50] * 10
    pixels, labels = load_digits(return_X_y=True)
    ours = torch.cat([digits.images(split, i) for split, i in every.items()]).flatten(1)
    theirs = torch.from_numpy(pixels).float() / 16
    both = torch.cat([digits.labels(split) for split in every])
    assert sorted(map(tuple, ours.tolist())) == sorted(map(tuple, theirs.tolist()))
    assert sorted(both.tolist()) == sorted(labels.tolist())


def test_the_digits_split_never_changes(tmp_path):
    digits = load_dataset("digits", folder=tmp_path)
    whole = digits.images("test", torch.arange(500)).numpy().tobytes()
    known = "233f68e04c3bcf189fc1daf50e6a3fb27fabfa9f09279e97024dde387fd31655"
    assert hashlib.sha256(whole).hexdigest() == known


def test_images_are_the_same_in_any_batch_and_labels_are_the_callers_own(tmp_path):
    digits = load_dataset("digits", folder=tmp_path)
    some = torch.tensor([7, 3, 400])
    assert torch.equal(digits.images("test", some)[1:2], digits.images("test", some[1:2]))
    digits.labels("test").fill_(0)
    assert digits.labels("test").max() == 9


def test_subsets_are_nested_and_balanced(tmp_path):
    digits = load_dataset("digits", folder=tmp_path)
    order = digits.order("test")
    assert torch.equal(order.sort().values, torch.arange(500))
    assert digits.labels("test")[order[:60]].bincount().tolist() == [6] * 10


@pytest.mark.parametrize("name", ["digits", "mnist", "fashion_mnist", "cifar10"])
def test_what_a_dataset_declares_is_well_formed(name, tmp_path):
    dataset = load_dataset(name, folder=tmp_path)
    assert dataset.name == name
    assert Threat.parse(dataset.threat).eps < 0.5
    assert len(dataset.shape) == 3


@pytest.mark.parametrize(
    ("name", "n_train", "first"),
    [
        ("mnist", 60_000, [7, 2, 1, 0, 4]),
        ("fashion_mnist", 60_000, [9, 2, 1, 1, 6]),
        ("cifar10", 50_000, [3, 8, 8, 0, 6]),
    ],
)
def test_the_real_datasets_are_read_in_their_published_order(real, name, n_train, first):
    dataset = load_dataset(name, folder=real)
    assert dataset.labels("test")[:5].tolist() == first
    assert len(dataset.labels("test")) == 10_000
    images = dataset.images("test", torch.tensor([0, 9_999]))
    assert images.shape == (2, *dataset.shape)
    assert images.dtype == torch.float32
    assert images.min() >= 0
    assert 0.9 < images.max() <= 1
    assert torch.equal((images * 255).round() / 255, images)
    if name == "mnist":
        assert len(dataset.labels("train")) == n_train


@pytest.fixture
def offline(monkeypatch):
    monkeypatch.setenv("BENCH_OFFLINE", "1")


@pytest.mark.parametrize(
    ("name", "place", "file"),
    [
        ("mnist", "MNIST/raw", "t10k-images-idx3-ubyte"),
        ("fashion_mnist", "FashionMNIST/raw", "t10k-labels-idx1-ubyte"),
        ("cifar10", "cifar-10-batches-py", "data_batch_5"),
    ],
)
def test_without_files_and_network_one_line_names_files_and_folder(
    offline, tmp_path, name, place, file
):
    with pytest.raises(BenchError) as caught:
        load_dataset(name, folder=tmp_path).labels("test")
    message = str(caught.value)
    assert str(tmp_path / place) in message
    assert file in message
    assert "\n" not in message
    assert not list(tmp_path.glob("*.part"))


def write_idx(folder: Path, n: int, side: int = 28, split: str = "t10k") -> None:
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True, exist_ok=True)
    image = struct.pack(">4i", 0x803, n, side, side) + bytes(range(256)) * (n * side * side // 256)
    (raw / f"{split}-images-idx3-ubyte").write_bytes(image)
    label = struct.pack(">2i", 0x801, n) + bytes(i % 10 for i in range(n))
    (raw / f"{split}-labels-idx1-ubyte").write_bytes(label)


@pytest.fixture
def published(tmp_path, monkeypatch):
    """MNIST's four archives on a server of this machine, small but well formed; its paths."""
    write_idx(tmp_path, 10_000)
    write_idx(tmp_path, 60_000, split="train")
    raw, resources = tmp_path / "MNIST" / "raw", []
    with serving() as server:
        for file in sorted(raw.iterdir()):
            packed = gzip.compress(file.read_bytes(), 1)
            server.answers[f"/{file.name}.gz"] = body(packed)
            resources.append((f"{file.name}.gz", hashlib.md5(packed).hexdigest()))
            file.unlink()
        monkeypatch.setattr(sources.MNIST, "mirrors", [f"{server.url}/gone/", f"{server.url}/"])
        monkeypatch.setattr(sources.MNIST, "resources", resources)
        yield server


def test_archives_are_downloaded_once_from_the_mirror_that_has_them(published, tmp_path):
    dataset = load_dataset("mnist", folder=tmp_path)
    assert dataset.labels("test").bincount().tolist() == [1_000] * 10
    assert sorted(path.name for path in tmp_path.iterdir()) == ["MNIST"]
    kept = {path.name for path in (tmp_path / "MNIST" / "raw").iterdir()}
    assert kept == set(dataset.files["test"])
    asked = len(published.asked)
    load_dataset("mnist", folder=tmp_path).labels("train")
    assert len(published.asked) == asked == 8


def test_an_archive_put_there_by_hand_is_unpacked_and_a_wrong_one_refused(
    published, tmp_path, monkeypatch
):
    place = tmp_path / "MNIST" / "raw" / "t10k-labels-idx1-ubyte.gz"
    place.write_bytes(b"not it")
    with pytest.raises(BenchError, match="its MD5 is") as caught:
        load_dataset("mnist", folder=tmp_path).labels("test")
    assert str(place) in str(caught.value)
    assert not list(tmp_path.glob("*.part"))
    for name, _ in sources.MNIST.resources:
        (place.parent / name).write_bytes(urlopen(f"{published.url}/{name}").read())
    monkeypatch.setenv("BENCH_OFFLINE", "1")
    assert len(load_dataset("mnist", folder=tmp_path).labels("test")) == 10_000
    assert place.is_file()


def test_a_changed_archive_is_refused_and_nothing_of_it_stays(published, tmp_path, monkeypatch):
    monkeypatch.setattr(sources.MNIST, "mirrors", [f"{published.url}/"])
    published.answers["/t10k-images-idx3-ubyte.gz"] = body(gzip.compress(b"other"))
    with pytest.raises(BenchError, match="MD5") as caught:
        load_dataset("mnist", folder=tmp_path).labels("test")
    assert "t10k-images-idx3-ubyte.gz by hand" in str(caught.value)
    assert "\n" not in str(caught.value)
    left = [path.name for path in (tmp_path / "MNIST" / "raw").iterdir()]
    assert left == []


@pytest.mark.parametrize("damage", ["truncated", "empty", "html", "other shape", "too few"])
def test_damaged_files_are_one_clear_line(tmp_path, damage):
    write_idx(
        tmp_path, 64 if damage == "too few" else 10_000, 32 if damage == "other shape" else 28
    )
    write_idx(tmp_path, 64, split="train")
    images = tmp_path / "MNIST" / "raw" / "t10k-images-idx3-ubyte"
    if damage == "truncated":
        images.write_bytes(images.read_bytes()[:100_000])
    elif damage in ("empty", "html"):
        images.write_bytes(b"" if damage == "empty" else b"<html>quota</html>")
    with pytest.raises(BenchError, match="damaged") as caught:
        MNIST(folder=tmp_path).labels("test")
    assert str(images.parent) in str(caught.value)


def test_a_cifar_file_with_one_changed_byte_is_never_unpickled(real, tmp_path):
    shutil.copytree(real / CIFAR10.subfolder, tmp_path / CIFAR10.subfolder)
    batch = tmp_path / CIFAR10.subfolder / "test_batch"
    data = bytearray(batch.read_bytes())
    data[1_000_000] ^= 1
    batch.write_bytes(data)
    with pytest.raises(BenchError, match="damaged"):
        CIFAR10(folder=tmp_path).labels("test")


def test_the_data_folder_is_the_option_else_the_environments_else_a_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))
    assert data_folder(tmp_path.parent) == tmp_path.parent
    assert data_folder() == tmp_path
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "absent"))
    with pytest.raises(BenchError, match=r"BENCH_DATA names .*absent"):
        data_folder()
    with pytest.raises(BenchError, match="--data names"):
        data_folder(tmp_path / "absent")
    monkeypatch.delenv("BENCH_DATA")
    assert data_folder().parts[-2:] == ("purifybench", "data")


def test_a_wrong_name_gets_a_suggestion(tmp_path):
    with pytest.raises(BenchError, match="Did you mean 'digits'"):
        load_dataset("digit", folder=tmp_path)
