"""Datasets in folders: found in their true layouts, decoded image by image, and clear where files are wrong."""

import pytest
import torch
from PIL import Image
from torchvision import datasets as sources
from torchvision.datasets.folder import pil_loader

from benchmark.datasets import imagenette
from benchmark.datasets.folder import read_image
from benchmark.datasets.preparation import Preparation
from benchmark.errors import BenchError
from benchmark.evaluation.prepare.loading import load_dataset
from tests.helpers.image_folders import (
    TINY,
    TINY_VAL,
    photograph,
    put,
    put_imagenette,
    put_tiny_imagenet,
)

WNIDS = imagenette.WNIDS


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
