"""Datasets: fixed splits, exact pixels, nested subsets, and one clear line where files are wrong."""

import gzip
import hashlib
import os
import shutil
import struct
from pathlib import Path
from urllib.request import urlopen

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torchvision import datasets as sources

from benchmark.datasets.vision import CIFAR10, MNIST
from benchmark.errors import BenchError
from benchmark.loading import data_folder, load_dataset
from benchmark.threat import Threat
from tests.servers import body, serving


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
    assert kept == set(dataset.files)
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


RGB = np.arange(2 * 4 * 5 * 3, dtype=np.uint8).reshape(2, 4, 5, 3)
LABELS = np.array([0, 2])


def npz(folder: Path, **arrays) -> str:
    np.savez(folder / "mine.npz", **arrays)
    return f"npz:{folder / 'mine.npz'}"


@pytest.mark.parametrize("form", ["NHWC", "NCHW", "float"])
def test_npz_images_are_read_in_either_layout_as_bytes_or_floats(tmp_path, form):
    images = {
        "NHWC": RGB,
        "NCHW": RGB.transpose(0, 3, 1, 2),
        "float": (RGB / 255).astype(">f8"),
    }[form]
    dataset = load_dataset(npz(tmp_path, images=images, labels=LABELS), folder=tmp_path)
    assert (dataset.name, dataset.shape, dataset.classes) == ("npz-mine", (3, 4, 5), 3)
    assert dataset.threat == "linf:8/255"
    expected = torch.from_numpy(RGB.transpose(0, 3, 1, 2).astype(np.float32) / 255)
    assert torch.equal(dataset.images("test", torch.tensor([1, 0])), expected[[1, 0]])
    assert dataset.labels("test").tolist() == [0, 2]


def test_npz_may_say_its_layout_classes_threat_and_training_images(tmp_path):
    grey = np.zeros((4, 6, 6), dtype=np.float32)
    text = npz(
        tmp_path,
        images=grey,
        labels=np.array([0, 1, 1, 0]),
        train_images=grey[:1],
        train_labels=np.array([1], dtype=np.uint8),
        classes=5,
        threat="l2:0.5",
    )
    dataset = load_dataset(text, folder=tmp_path)
    assert (dataset.shape, dataset.classes, dataset.threat) == ((1, 6, 6), 5, "l2:0.5")
    assert dataset.labels("train").tolist() == [1]
    ambiguous = np.zeros((2, 3, 7, 3), dtype=np.uint8)
    with pytest.raises(BenchError, match="add layout"):
        load_dataset(npz(tmp_path, images=ambiguous, labels=LABELS), folder=tmp_path)
    told = npz(tmp_path, images=ambiguous, labels=LABELS, layout="NCHW")
    assert load_dataset(told, folder=tmp_path).shape == (3, 7, 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": None}, "no array 'images'"),
        ({"labels": None}, "no array 'labels'"),
        ({"images": RGB.astype(np.int32)}, "uint8, or floats"),
        ({"images": RGB.astype(np.float32)}, r"floats in \[0, 1\]"),
        ({"images": np.full(RGB.shape, np.nan)}, r"floats in \[0, 1\]"),
        ({"images": RGB[:, :, :, :2]}, "channels must be 1 or 3"),
        ({"images": RGB[0, 0]}, r"got \(5, 3\)"),
        ({"images": RGB[:0], "labels": LABELS[:0]}, "at least one pixel"),
        ({"labels": LABELS / 2}, "integers"),
        ({"labels": LABELS[:1]}, "one label an image"),
        ({"labels": LABELS - 1}, "labels from 0"),
        ({"classes": 2}, "labels from 0 to 1"),
        ({"classes": 2.5}, "one integer in classes"),
        ({"layout": "HWCN"}, "NHWC or NCHW"),
        ({"threat": "linf:-1"}, "above 0"),
        ({"train_images": RGB}, "no array 'train_labels'"),
        ({"extra": LABELS}, "no array 'extra'"),
    ],
)
def test_a_wrong_npz_is_one_clear_line(tmp_path, change, message):
    arrays = {"images": RGB, "labels": LABELS} | change
    text = npz(tmp_path, **{k: v for k, v in arrays.items() if v is not None})
    with pytest.raises(BenchError, match=message) as caught:
        load_dataset(text, folder=tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["missing", "text", "npy", "pickle", "truncated"])
def test_what_is_no_npz_is_one_clear_line(tmp_path, kind):
    path = tmp_path / "mine.npz"
    if kind == "text":
        path.write_text("not an archive")
    elif kind == "npy":
        with path.open("wb") as file:
            np.save(file, RGB)
    elif kind == "pickle":
        np.savez(path, images=np.array([{}], dtype=object), labels=LABELS)
    elif kind == "truncated":
        np.savez(path, images=RGB, labels=LABELS)
        path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(BenchError) as caught:
        load_dataset(f"npz:{path}", folder=tmp_path)
    assert "mine.npz" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_npz_without_training_images_says_so_when_asked(tmp_path):
    dataset = load_dataset(npz(tmp_path, images=RGB, labels=LABELS), folder=tmp_path)
    with pytest.raises(BenchError, match="train_images"):
        dataset.labels("train")


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
