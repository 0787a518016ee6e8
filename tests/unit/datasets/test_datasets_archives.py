"""Archives of folder datasets: downloaded, checked, unpacked into place whole or not at all."""

import io
import tarfile
import zipfile
from dataclasses import replace
from hashlib import md5 as new_md5
from pathlib import Path

import pytest

from benchmark.datasets import imagenette, tiny_imagenet
from benchmark.errors import BenchError
from benchmark.evaluation.prepare.loading import load_dataset
from tests.helpers.image_folders import TINY, TINY_VAL, put_imagenette, put_tiny_imagenet
from tests.helpers.servers import body, serving

WNIDS = imagenette.WNIDS


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    monkeypatch.setenv("BENCH_OFFLINE", "1")


def md5(content: bytes) -> str:
    return new_md5(content, usedforsecurity=False).hexdigest()


def packed(tmp_path, kind) -> Path:
    """A small archive in the dataset's own format."""
    source = tmp_path / "source"
    if kind == "imagenette":
        place = put_imagenette(source, WNIDS)
        file = tmp_path / "imagenette2-320.tgz"
        with tarfile.open(file, "w:gz") as tar:
            tar.add(place, place.name)
        return file
    place = put_tiny_imagenet(source, TINY, TINY_VAL)
    file = tmp_path / "tiny-imagenet-200.zip"
    with zipfile.ZipFile(file, "w") as archive:
        for path in place.rglob("*"):
            archive.write(path, path.relative_to(source))
    return file


@pytest.mark.parametrize("kind", ["imagenette", "tiny_imagenet"])
def test_an_archive_is_downloaded_checked_unpacked_and_removed(kind, tmp_path, monkeypatch):
    content = packed(tmp_path, kind).read_bytes()
    module = {"imagenette": imagenette, "tiny_imagenet": tiny_imagenet}[kind]
    name = module.ARCHIVE.place.name
    data = tmp_path / "data"
    monkeypatch.delenv("BENCH_OFFLINE")
    with serving() as server:
        server.answers[f"/{name}"] = body(content)
        archive = replace(module.ARCHIVE, urls=(f"{server.url}/{name}",), md5=md5(content))
        monkeypatch.setattr(module, "ARCHIVE", archive)
        dataset = load_dataset(kind, folder=data)
        assert len(dataset.labels("test")) == {"imagenette": 20, "tiny_imagenet": 3}[kind]
        assert len(load_dataset(kind, folder=data).labels("train")) > 0
        assert server.count(f"/{name}") == 1
    assert [path.name for path in data.iterdir() if not path.name.startswith(".")] == [
        module.ARCHIVE.place.stem
    ]
    assert not list(data.glob(".*.part"))


def test_an_archive_put_there_by_hand_is_taken_if_it_is_the_published_one(tmp_path, monkeypatch):
    file = packed(tmp_path, "imagenette")
    with pytest.raises(BenchError, match=r"its MD5 is .* and should be 3df6f0d0") as caught:
        load_dataset("imagenette", folder=tmp_path).labels("test")
    assert "\n" not in str(caught.value)
    known = replace(imagenette.ARCHIVE, md5=md5(file.read_bytes()))
    monkeypatch.setattr(imagenette, "ARCHIVE", known)
    assert len(load_dataset("imagenette", folder=tmp_path).labels("test")) == 20
    assert file.exists()


@pytest.mark.parametrize("kind", ["escaping", "other", "broken"])
def test_an_archive_that_cannot_be_unpacked_leaves_nothing(kind, tmp_path, monkeypatch):
    file = tmp_path / "imagenette2-320.tgz"
    if kind == "broken":
        file.write_bytes(packed(tmp_path, "imagenette").read_bytes()[:5000])
    else:
        with tarfile.open(file, "w:gz") as tar:
            about = tarfile.TarInfo("../outside" if kind == "escaping" else "another/file")
            tar.addfile(about, io.BytesIO())
    known = replace(imagenette.ARCHIVE, md5=md5(file.read_bytes()))
    monkeypatch.setattr(imagenette, "ARCHIVE", known)
    data = tmp_path / "data"
    data.mkdir()
    file.rename(data / file.name)
    with pytest.raises(BenchError, match="cannot be unpacked") as caught:
        load_dataset("imagenette", folder=data).labels("test")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "outside").exists()
    assert {path.name for path in data.iterdir()} <= {file.name, ".imagenette2-320.lock"}
