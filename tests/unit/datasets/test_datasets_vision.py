"""CIFAR-100 and SVHN: synthetic files in their true formats, through torchvision's own readers."""

import hashlib
import pickle

import numpy as np
import pytest
import scipy.io
import torch
from torchvision import datasets as sources

from benchmark.datasets.vision import CIFAR100, SVHN
from benchmark.errors import BenchError
from benchmark.evaluation.prepare.loading import load_dataset
from tests.helpers.servers import body, serving

N = 30


def md5(path):
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


@pytest.fixture
def cifar100(tmp_path, monkeypatch):
    """CIFAR-100 with 30 images a split, pickled as it is published: rows of 3,072 bytes, channels first."""
    place = tmp_path / "cifar-100-python"
    place.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (N, 3, 32, 32), dtype=np.uint8)
    fine = [(7 * i) % 100 for i in range(N)]
    batch = {"data": pixels.reshape(N, -1), "fine_labels": fine, "coarse_labels": [0] * N}
    for name in ("train", "test"):
        (place / name).write_bytes(pickle.dumps(batch, protocol=2))
    (place / "meta").write_bytes(pickle.dumps({"fine_label_names": [str(i) for i in range(100)]}))
    for split in ("train", "test"):
        listed = [[split, md5(place / split)]]
        monkeypatch.setattr(sources.CIFAR100, f"{split}_list", listed)
    meta = sources.CIFAR100.meta | {"md5": md5(place / "meta")}
    monkeypatch.setattr(sources.CIFAR100, "meta", meta)
    monkeypatch.setattr(CIFAR100, "sizes", {"train": N, "test": N})
    return tmp_path, pixels, fine


@pytest.fixture
def svhn(tmp_path, monkeypatch):
    """SVHN's test split with 30 images: `X` of `(32, 32, 3, n)`, and `y` in which the digit 0 is 10."""
    pixels = np.random.default_rng(1).integers(0, 256, (32, 32, 3, N), dtype=np.uint8)
    labels = np.array([i % 10 + 1 for i in range(N)], dtype=np.uint8)
    file = tmp_path / "test_32x32.mat"
    scipy.io.savemat(file, {"X": pixels, "y": labels[:, None]})
    known = dict(sources.SVHN.split_list)
    known["test"] = ["nowhere", "test_32x32.mat", md5(file)]
    monkeypatch.setattr(sources.SVHN, "split_list", known)
    monkeypatch.setattr(SVHN, "sizes", {"train": N, "test": N})
    return tmp_path, pixels, labels


@pytest.mark.parametrize("split", ["train", "test"])
def test_cifar100_has_its_pixels_and_fine_labels(cifar100, split):
    folder, pixels, fine = cifar100
    dataset = load_dataset("cifar100", folder=folder)
    assert dataset.labels(split).tolist() == fine
    some = torch.tensor([4, 29, 0])
    expected = torch.from_numpy(pixels)[some].float().div(255)
    assert torch.equal(dataset.images(split, some), expected)
    assert (dataset.shape, dataset.classes, dataset.threat) == ((3, 32, 32), 100, "linf:8/255")


def test_svhn_has_its_pixels_the_right_way_up_and_zero_for_the_digit_zero(svhn):
    folder, pixels, labels = svhn
    dataset = load_dataset("svhn", folder=folder)
    assert dataset.labels("test").tolist() == [int(label) % 10 for label in labels]
    some = torch.tensor([4, 29, 0])
    expected = torch.from_numpy(pixels.transpose(3, 2, 0, 1).copy())[some].float().div(255)
    assert torch.equal(dataset.images("test", some), expected)
    assert (dataset.shape, dataset.classes, dataset.threat) == ((3, 32, 32), 10, "linf:8/255")


@pytest.mark.parametrize("name", ["cifar100", "svhn"])
def test_another_size_than_the_published_one_is_damaged(name, request, monkeypatch):
    folder = request.getfixturevalue(name)[0]
    monkeypatch.setattr({"cifar100": CIFAR100, "svhn": SVHN}[name], "sizes", {"test": N + 1})
    with pytest.raises(BenchError, match="damaged"):
        load_dataset(name, folder=folder).labels("test")


@pytest.mark.parametrize(
    ("name", "file"), [("cifar100", "cifar-100-python/test"), ("svhn", "test_32x32.mat")]
)
def test_one_changed_byte_is_found_before_anything_is_read(name, file, request):
    folder = request.getfixturevalue(name)[0]
    content = bytearray((folder / file).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / file).write_bytes(content)
    with pytest.raises(BenchError, match="damaged") as caught:
        load_dataset(name, folder=folder).labels("test")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("cifar100", ["train", "test", "meta", "cifar-100-python.tar.gz"]),
        ("svhn", ["test_32x32.mat"]),
        ("mnist", ["t10k-images-idx3-ubyte"]),
    ],
)
def test_offline_nothing_is_downloaded_and_one_line_names_the_files(
    name, files, tmp_path, monkeypatch
):
    monkeypatch.setenv("BENCH_OFFLINE", "1")
    with pytest.raises(BenchError, match="offline mode") as caught:
        load_dataset(name, folder=tmp_path).labels("test")
    assert all(file in str(caught.value) for file in files)
    assert str(tmp_path) in str(caught.value)


def test_svhn_downloads_the_file_of_one_split_and_checks_it(svhn, tmp_path, monkeypatch):
    content = (svhn[0] / "test_32x32.mat").read_bytes()
    known = dict(sources.SVHN.split_list)
    with serving() as server:
        server.answers["/test_32x32.mat"] = body(content)
        known["test"] = [f"{server.url}/test_32x32.mat", *known["test"][1:]]
        monkeypatch.setattr(sources.SVHN, "split_list", known)
        dataset = load_dataset("svhn", folder=tmp_path / "data")
        assert len(dataset.labels("test")) == N
        assert [path.name for path in (tmp_path / "data").glob("[!.]*")] == ["test_32x32.mat"]
        server.answers["/test_32x32.mat"] = body(content[:-1] + b"x")
        with pytest.raises(BenchError, match="MD5"):
            load_dataset("svhn", folder=tmp_path / "other").labels("test")
        assert not list((tmp_path / "other").glob("[!.]*"))


def test_svhn_wants_only_the_file_of_the_split_that_is_asked_for(svhn, monkeypatch):
    monkeypatch.setenv("BENCH_OFFLINE", "1")
    dataset = load_dataset("svhn", folder=svhn[0])
    assert len(dataset.labels("test")) == N
    with pytest.raises(BenchError, match=r"train_32x32\.mat") as caught:
        dataset.labels("train")
    assert "test_32x32" not in str(caught.value)
