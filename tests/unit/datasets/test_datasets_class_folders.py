"""A plain folder of class folders is a dataset; what it leaves open is one line."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from benchmark.engine.dataset import images_of, labels_of
from benchmark.errors import BenchError
from benchmark.evaluation.prepare.loading import load_dataset
from benchmark.identity.content_names import without_content


def draw(path, value, *, size=(6, 5), mode="RGB"):
    """An image `(h, w)` of one value."""
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = size if mode == "L" else (*size, 3)
    Image.fromarray(np.full(shape, value, dtype=np.uint8)).save(path)


def folder_of(root, places, **how):
    for i, place in enumerate(places):
        draw(root / place, 40 * (i % 5 + 1), **how)
    return f"folder:{root}"


CATS_AND_DOGS = ["cat/1.png", "dog/0.png", "cat/0.png"]


@pytest.mark.parametrize("split", ["", "test/", "val/"])
def test_the_test_images_are_those_of_test_or_val_or_of_the_folder_itself(tmp_path, split):
    text = folder_of(tmp_path / "pets", [split + place for place in CATS_AND_DOGS])
    dataset = load_dataset(text, folder=tmp_path)
    assert without_content(dataset.name) == "folder-pets" != dataset.name
    assert (dataset.shape, dataset.classes) == ((3, 6, 5), 2)
    assert (dataset.threat, dataset.preparation) == ("linf:8/255", "")
    assert labels_of(dataset, "test").tolist() == [0, 0, 1]
    x = images_of(dataset, "test", torch.tensor([2, 0, 1]))
    assert (x[:, 0, 0, 0] * 255).round().tolist() == [80, 120, 40]  # by class, then by name
    with pytest.raises(BenchError, match="no image is in"):
        dataset.labels("train")


def test_training_images_share_the_classes_with_the_test_images(tmp_path):
    places = [
        "train/ant/0.png",
        "train/cat/0.png",
        "test/cat/0.png",
        "test/bee/0.png",
        "val/x/0.png",
    ]
    dataset = load_dataset(folder_of(tmp_path, places), folder=tmp_path)
    assert dataset.names == ["ant", "bee", "cat"]
    assert labels_of(dataset, "train").tolist() == [0, 2]
    assert labels_of(dataset, "test").tolist() == [1, 2]


def test_images_are_grey_where_all_test_images_are(tmp_path):
    text = folder_of(tmp_path / "grey", CATS_AND_DOGS, mode="L")
    dataset = load_dataset(text, folder=tmp_path)
    assert (dataset.shape, dataset.threat) == ((1, 6, 5), "linf:0.1")
    assert images_of(dataset, "test", torch.tensor([0])).shape == (1, 1, 6, 5)
    draw(tmp_path / "grey" / "dog" / "colour.png", 9)
    mixed = load_dataset(text, folder=tmp_path)
    assert images_of(mixed, "test", torch.arange(4)).shape == (4, 3, 6, 5)


def test_images_of_several_sizes_need_a_preparation_that_enters_the_entry(tmp_path):
    text = folder_of(tmp_path, CATS_AND_DOGS)
    draw(tmp_path / "dog" / "large.png", 7, size=(9, 9))
    with pytest.raises(BenchError, match=r"several sizes \(6 x 5, 9 x 9, ...\).*@resize:5,crop:5"):
        load_dataset(text, folder=tmp_path)
    dataset = load_dataset(f"{text}@resize:5,crop:4", folder=tmp_path)
    assert (dataset.shape, dataset.preparation) == ((3, 4, 4), "resize:5,crop:4")
    assert images_of(dataset, "test", torch.arange(4)).shape == (4, 3, 4, 4)


def test_numbered_folders_are_sorted_as_text_and_that_is_said(tmp_path, caplog):
    text = folder_of(tmp_path, [f"{k}/0.png" for k in range(11)])
    assert load_dataset(text, folder=tmp_path).names[:3] == ["0", "1", "10"]
    assert "folder '10' is class 2" in caplog.text


def test_an_at_sign_in_a_folder_s_name_is_no_preparation(tmp_path):
    text = folder_of(tmp_path / "me@home", CATS_AND_DOGS)
    assert without_content(load_dataset(text, folder=tmp_path).name) == "folder-me@home"


@pytest.mark.parametrize(
    ("places", "suffix", "message"),
    [
        ([], "/none", "there is no folder"),
        (["0.png", "1.png"], "", "images outside of class folders"),
        (["train/a/0.png", "train/b/0.png"], "", "only training images"),
        (["a/0.png"], "", "at least 2 classes; got a"),
        (["test/0.png", "train/a/0.png", "train/b/0.png"], "", "no image is in"),
        (CATS_AND_DOGS, "@size:4", "not understood at 'size:4'"),
        (CATS_AND_DOGS, "@resize:4", "leaves the shape of an image open"),
    ],
)
def test_a_folder_of_another_kind_is_one_line(tmp_path, places, suffix, message):
    text = folder_of(tmp_path, places)
    with pytest.raises(BenchError, match=message) as caught:
        load_dataset(text + suffix, folder=tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["deep", "damaged"])
def test_an_image_that_cannot_be_taken_is_named(tmp_path, kind):
    text = folder_of(tmp_path, CATS_AND_DOGS)
    path = tmp_path / "dog" / "bad.png"
    if kind == "deep":
        Image.fromarray(np.full((6, 5), 40_000, dtype=np.uint16)).save(path)
    else:
        path.write_bytes(b"no image")
    with pytest.raises(BenchError, match=r"bad\.png"):
        load_dataset(text, folder=tmp_path)
