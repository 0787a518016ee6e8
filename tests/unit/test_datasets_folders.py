"""Datasets in folders: found in their true layouts, decoded image by image, and clear where files are wrong."""

import io
import os
import tarfile
import zipfile
from dataclasses import replace
from hashlib import md5 as new_md5
from pathlib import Path

import pytest
import torch
from PIL import Image
from torchvision import datasets as sources
from torchvision.datasets.folder import pil_loader

from benchmark.datasets import folder as folders
from benchmark.datasets import imagenette, tiny_imagenet
from benchmark.datasets.folder import read_image
from benchmark.datasets.imagenet import ImageNet
from benchmark.datasets.preparation import Preparation
from benchmark.errors import BenchError
from benchmark.loading import load_dataset
from tests.photographs import (
    imagenet_wnids,
    photograph,
    put,
    put_imagenet,
    put_imagenette,
    put_tiny_imagenet,
)
from tests.servers import body, serving

WNIDS = imagenette.WNIDS
TINY = sorted(imagenet_wnids()[::5])[::-1]
"""200 WordNet ids, not in the order of their labels, as in the published `wnids.txt`."""
TINY_VAL = {"val_0.JPEG": TINY[7], "val_1.JPEG": TINY[199], "val_2.JPEG": TINY[7]}


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    monkeypatch.setenv("BENCH_OFFLINE", "1")


def pixels(path, preparation="Res256Crop224"):
    return Preparation.parse(preparation)(pil_loader(str(path)))


def test_imagenette_is_what_torchvision_reads(tmp_path):
    put_imagenette(tmp_path, WNIDS)
    ours = load_dataset("imagenette", folder=tmp_path)
    for split, theirs_split in (("train", "train"), ("test", "val")):
        theirs = sources.Imagenette(tmp_path, split=theirs_split, size="320px")
        assert theirs.wnids == list(WNIDS)
        assert ours.labels(split).tolist() == [label for _, label in theirs._samples]
        some = torch.tensor([13, 0, 19])
        expected = torch.stack([pixels(theirs._samples[i][0]) for i in some])
        assert torch.equal(ours.images(split, some), expected)
    assert (ours.shape, ours.classes, ours.threat) == ((3, 224, 224), 10, "linf:4/255")


def test_another_preparation_is_another_view_of_the_same_files(tmp_path):
    place = put_imagenette(tmp_path, WNIDS[:1], per_class=1, width=330, height=320)
    own = load_dataset("imagenette", folder=tmp_path)
    cropped = own.prepared_for("Crop288")
    (file,) = (place / "val").rglob("*.JPEG")
    assert (
        cropped.images("test", torch.tensor([0])).shape == (1, *cropped.shape) == (1, 3, 288, 288)
    )
    assert torch.equal(cropped.images("test", torch.tensor([0]))[0], pixels(file, "Crop288"))
    assert (own.shape, own.preparation) == ((3, 224, 224), "Res256Crop224")
    assert cropped.preparation == "Crop288"
    assert own.prepared_for("").preparation == "Res256Crop224"
    assert cropped.prepared_for("resize:64x48").shape == (3, 64, 48)
    with pytest.raises(BenchError, match="not understood"):
        own.prepared_for("Crop")


@pytest.mark.parametrize("name", ["tiny_imagenet", "digits", "cifar10"])
def test_images_that_are_taken_as_they_are_have_no_other_preparation(name, tmp_path):
    dataset = load_dataset(name, folder=tmp_path)
    assert dataset.prepared_for("") is dataset
    with pytest.raises(BenchError, match="has no preparation 'Crop288'"):
        dataset.prepared_for("Crop288")


def test_tiny_imagenet_is_read_as_stanford_packs_it(tmp_path):
    place = put_tiny_imagenet(tmp_path, TINY, TINY_VAL)
    dataset = load_dataset("tiny_imagenet", folder=tmp_path)
    order = sorted(TINY)
    assert dataset.labels("test").tolist() == [order.index(TINY[i]) for i in (199, 7, 7)]
    files = [place / "val" / "images" / f"val_{i}.JPEG" for i in (1, 0, 2)]
    expected = torch.stack([pixels(file, "") for file in files])
    assert torch.equal(dataset.images("test", torch.arange(3)), expected)
    theirs = sources.ImageFolder(str(place / "train"))
    train = dataset.labels("train").tolist()
    assert [order[label] for label in train] == [theirs.classes[i] for i in theirs.targets]
    assert (dataset.shape, dataset.classes, dataset.threat) == ((3, 64, 64), 200, "linf:4/255")


def test_tiny_imagenet_may_be_sorted_into_folders(tmp_path):
    place = put_tiny_imagenet(tmp_path, TINY, TINY_VAL)
    published = load_dataset("tiny_imagenet", folder=tmp_path)
    before = published.images("test", torch.arange(3))
    for name, wnid in TINY_VAL.items():
        target = place / "val" / wnid / "images" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        (place / "val" / "images" / name).rename(target)
    (place / "val" / "images").rmdir()
    (place / "val" / "val_annotations.txt").unlink()
    moved = load_dataset("tiny_imagenet", folder=tmp_path)
    assert torch.equal(moved.labels("test"), published.labels("test"))
    assert torch.equal(moved.images("test", torch.arange(3)), before)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("wnids.txt", None, "wnids.txt' is missing"),
        ("wnids.txt", "\n".join(TINY[:199]), "expected 200 WordNet ids"),
        ("val/val_annotations.txt", None, "val_annotations.txt' is missing"),
        ("val/val_annotations.txt", "val_0.JPEG\tn0\n", "gives 'val_[01].JPEG' no class"),
        ("val/val_annotations.txt", "val_0.JPEG\n", "gives 'val_[01].JPEG' no class"),
        ("val/val_annotations.txt", "<html>é</html>", "cannot be read"),
    ],
)
def test_wrong_lists_of_tiny_imagenet_are_one_line(tmp_path, file, content, message):
    place = put_tiny_imagenet(tmp_path, TINY, dict(list(TINY_VAL.items())[:2]))
    if content is None:
        (place / file).unlink()
    else:
        (place / file).write_text(content)
    with pytest.raises(BenchError, match=message) as caught:
        load_dataset("tiny_imagenet", folder=tmp_path).labels("test")
    assert "\n" not in str(caught.value)


def test_an_image_of_another_size_is_refused_where_images_are_taken_as_they_are(tmp_path):
    place = put_tiny_imagenet(tmp_path, TINY, TINY_VAL)
    put(place / "val" / "images" / "val_1.JPEG", 0, width=65, height=64)
    dataset = load_dataset("tiny_imagenet", folder=tmp_path)
    assert len(dataset.images("test", torch.tensor([1, 2]))) == 2
    with pytest.raises(BenchError, match=r"64 x 64 pixels at .*val_1\.JPEG.*got 65 x 64"):
        dataset.images("test", torch.tensor([0]))


@pytest.mark.parametrize(
    ("mode", "ending"),
    [("L", "png"), ("L", "JPEG"), ("CMYK", "jpg"), ("RGBA", "png"), ("P", "png"), ("1", "png"),
     ("LA", "png"), ("I;16", "png")],
)  # fmt: skip
def test_every_mode_becomes_rgb_as_torchvision_makes_it(tmp_path, mode, ending):
    path = tmp_path / f"x.{ending}"
    photograph(0, mode="L" if mode == "I;16" else mode).convert(mode).save(path)
    ours = read_image(path)
    assert ours.mode == "RGB"
    assert ours.tobytes() == pil_loader(str(path)).tobytes()


def test_exif_turns_nothing_as_in_torchvision(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # "turn by a quarter"
    path = tmp_path / "x.jpg"
    photograph(0).save(path, exif=exif)
    assert read_image(path).size == photograph(0).size
    assert read_image(path).tobytes() == pil_loader(str(path)).tobytes()


DAMAGE = ["truncated", "empty", "html", "header", "missing", "folder", "bomb"]


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("ending", ["JPEG", "png"])
def test_a_damaged_image_is_one_line_that_names_it(tmp_path, monkeypatch, damage, ending):
    place = tmp_path / "imagenette2-320" / "val" / WNIDS[3]
    put(place / f"a.{ending}", 0)
    path = put(place / f"b.{ending}", 1)
    content = path.read_bytes()
    dataset = load_dataset("imagenette", folder=tmp_path)
    assert len(dataset.labels("test")) == 2
    path.unlink()
    if damage == "folder":
        path.mkdir()
    elif damage == "bomb":
        path.write_bytes(content)
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    elif damage != "missing":
        wrong = {"truncated": content[: len(content) // 2], "empty": b"", "html": b"<html></html>"}
        path.write_bytes(wrong.get(damage, content[:8] + b"\xff" * 90 + content[98:]))
    with pytest.raises(BenchError, match=rf"b\.{ending}' is missing or damaged") as caught:
        dataset.images("test", torch.tensor([1]))
    assert "\n" not in str(caught.value)
    if damage != "bomb":
        assert dataset.images("test", torch.tensor([0])).shape == (1, 3, 224, 224)


@pytest.mark.parametrize("name", ["imagenette", "tiny_imagenet", "imagenet"])
def test_an_absent_dataset_is_one_line_that_says_what_to_put_where(name, tmp_path):
    with pytest.raises(BenchError) as caught:
        load_dataset(name, folder=tmp_path).labels("test")
    message = str(caught.value)
    file = {"imagenette": "imagenette2-320.tgz", "tiny_imagenet": "tiny-imagenet-200.zip"}
    assert file.get(name, "imagenet/val/<wnid>/*.JPEG") in message
    assert str(tmp_path) in message
    assert "\n" not in message


def test_an_empty_folder_is_one_line(tmp_path):
    (tmp_path / "imagenette2-320").mkdir()
    with pytest.raises(BenchError, match=r"no image is in .*val.*expected train/<wnid>"):
        load_dataset("imagenette", folder=tmp_path).labels("test")


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
        module.UNPACKED
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


def many(tmp_path, n) -> ImageNet:
    """ImageNet with n images, which are links to eight files."""
    wnids = imagenet_wnids()
    val = put_imagenet(tmp_path, [f"{wnids[i]}/ILSVRC2012_val_{i:08d}.JPEG" for i in range(8)])
    seeds = sorted(val.rglob("*.JPEG"))
    for i in range(8, n):
        link = val / wnids[i % 1000] / f"ILSVRC2012_val_{i:08d}.JPEG"
        link.parent.mkdir(exist_ok=True)
        os.link(seeds[i % 8], link)
    return ImageNet(folder=tmp_path)


def test_a_shard_opens_its_own_files_and_no_other(tmp_path, monkeypatch):
    dataset = many(tmp_path, 64)
    opened = []

    def noted(path):
        opened.append(path.name)
        return read_image(path)

    monkeypatch.setattr(folders, "read_image", noted)
    order = dataset.order("test")
    assert opened == []
    wanted = order[:5]
    dataset.images("test", wanted)
    listing = dataset.listing("test")
    assert opened == [Path(listing.paths[int(i)]).name for i in wanted]


def test_the_folder_is_listed_once(tmp_path, monkeypatch):
    dataset = many(tmp_path, 16)
    dataset.labels("test")
    monkeypatch.setattr(folders.os, "scandir", None)
    assert len(dataset.labels("test")) == 16
    assert dataset.images("test", torch.tensor([3])).shape == (1, 3, 224, 224)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="no /proc to read memory from")
def test_memory_stays_flat_over_many_images(tmp_path):
    """600 images of 602 kB each are 361 MB; what stays in memory is a shard."""
    dataset = many(tmp_path, 600)
    order = dataset.order("test")

    def resident() -> int:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    seen = []
    for start in range(0, 600, 20):
        assert dataset.images("test", order[start : start + 20]).shape == (20, 3, 224, 224)
        seen.append(resident())
    assert max(seen[5:]) - seen[4] < 20 * 2**20
