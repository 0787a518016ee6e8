"""Datasets of one .npz file: either layout, bytes or floats, and one clear line where the file is wrong."""

from pathlib import Path

import numpy as np
import pytest
import torch

from benchmark.errors import BenchError
from benchmark.evaluation.prepare.loading import load_dataset
from benchmark.identity.content_names import without_content

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
    assert without_content(dataset.name) == "npz-mine" != dataset.name
    assert (dataset.shape, dataset.classes) == ((3, 4, 5), 3)
    assert dataset.threat == "linf:8/255"
    expected = torch.from_numpy(RGB.transpose(0, 3, 1, 2).astype(np.float32) / 255)
    assert torch.equal(dataset.images("test", torch.tensor([1, 0])), expected[[1, 0]])
    assert dataset.labels("test").tolist() == [0, 2]


def test_npz_may_say_its_layout_classes_threat_white_and_training_images(tmp_path):
    grey = np.full((4, 6, 6), 8, dtype=np.uint8)
    text = npz(
        tmp_path,
        images=grey,
        labels=np.array([0, 1, 1, 0]),
        train_images=grey[:1],
        train_labels=np.array([1], dtype=np.uint8),
        classes=5,
        threat="l2:0.5",
        white=16,
    )
    dataset = load_dataset(text, folder=tmp_path)
    assert (dataset.shape, dataset.classes, dataset.threat) == ((1, 6, 6), 5, "l2:0.5")
    assert not dataset.has_open_classes
    assert dataset.labels("train").tolist() == [1]
    assert dataset.images("test", torch.tensor([0])).unique().tolist() == [0.5]
    ambiguous = np.full((2, 3, 7, 3), 99, dtype=np.uint8)
    with pytest.raises(BenchError, match="add layout"):
        load_dataset(npz(tmp_path, images=ambiguous, labels=LABELS), folder=tmp_path)
    told = npz(tmp_path, images=ambiguous, labels=LABELS, layout="NCHW")
    assert load_dataset(told, folder=tmp_path).shape == (3, 7, 3)


NAMES = {
    "plain": ("images", "labels"),
    "medmnist": ("test_images", "test_labels"),
    "keras": ("x_test", "y_test"),
    "capital": ("X", "y"),
    "sklearn": ("data", "target"),
    "torchvision": ("data", "targets"),
    "positions": ("arr_0", "arr_1"),
    "one of them tagged": ("x_test", "labels"),
    "validation alone": ("val_images", "val_labels"),
}


@pytest.mark.parametrize("names", NAMES.values(), ids=list(NAMES))
def test_arrays_are_found_by_the_names_that_people_give_them(tmp_path, names):
    images, labels = names
    dataset = load_dataset(npz(tmp_path, **{images: RGB, labels: LABELS}), folder=tmp_path)
    assert (dataset.shape, dataset.labels("test").tolist()) == ((3, 4, 5), [0, 2])


def test_medmnist_s_file_is_read_as_it_comes(tmp_path):
    arrays = {}
    for split, n in (("train", 5), ("val", 3), ("test", 4)):
        arrays[f"{split}_images"] = np.full((n, 8, 8), 10 * n, dtype=np.uint8)
        arrays[f"{split}_labels"] = (np.arange(n) % 3)[:, None].astype(np.uint8)
    dataset = load_dataset(npz(tmp_path, **arrays), folder=tmp_path)
    assert dataset.labels("test").tolist() == [0, 1, 2, 0]
    assert dataset.labels("train").tolist() == [0, 1, 2, 0, 1]
    assert float(dataset.images("test", torch.tensor([0])).max()) == pytest.approx(40 / 255)


FORMS = {
    "(n, 1)": (LABELS[:, None], 3, True),
    "one-hot": (np.eye(4)[LABELS], 4, False),
    "one-hot bytes": (np.eye(3, dtype=np.uint8)[LABELS], 3, False),
    "whole floats": (LABELS.astype(np.float32), 3, True),
    "bytes": (LABELS.astype(np.uint8), 3, True),
    "booleans": (LABELS > 1, 2, True),
}


@pytest.mark.parametrize("form", FORMS)
def test_labels_are_whole_numbers_of_any_type_or_one_hot_rows(tmp_path, form):
    labels, classes, is_open = FORMS[form]
    dataset = load_dataset(npz(tmp_path, images=RGB, labels=labels), folder=tmp_path)
    assert dataset.labels("test").tolist() == ([0, 1] if form == "booleans" else [0, 2])
    assert (dataset.classes, dataset.has_open_classes) == (classes, is_open)


def test_class_names_say_how_many_classes_there_are(tmp_path):
    names = np.array(["ant", "bee", "cat", "dog"])
    text = npz(tmp_path, images=RGB, labels=LABELS, class_names=names)
    dataset = load_dataset(text, folder=tmp_path)
    assert (dataset.classes, dataset.has_open_classes) == (4, False)


FLOATS = (RGB / RGB.max()).astype(np.float32)
PIXELS = {
    "rounding above 1": FLOATS * np.float32(1.0000002),
    "rounding below 0": FLOATS - np.float32(1e-7),
    "half precision": FLOATS.astype(np.float16),
    "whole numbers": RGB.astype(np.int64),
    "booleans": RGB > 50,
}


@pytest.mark.parametrize("pixels", PIXELS.values(), ids=list(PIXELS))
def test_pixels_of_any_type_become_floats_in_0_to_1(tmp_path, pixels):
    dataset = load_dataset(npz(tmp_path, images=pixels, labels=LABELS), folder=tmp_path)
    x = dataset.images("test", torch.tensor([0, 1]))
    assert x.dtype == torch.float32
    assert 0 <= float(x.min()) <= float(x.max()) <= 1
    assert float(x.max()) > 0.4


def test_the_images_axis_is_the_one_of_the_labels(tmp_path):
    columns = np.full((8, 8, 3, 5), 200, dtype=np.uint8)  # as SVHN's .mat files have them
    labels = np.arange(5)
    assert load_dataset(npz(tmp_path, images=columns, labels=labels), folder=tmp_path).shape == (
        3,
        8,
        8,
    )
    grey = columns[:, :, 0]
    assert load_dataset(npz(tmp_path, images=grey, labels=labels), folder=tmp_path).shape == (
        1,
        8,
        8,
    )


def test_labels_from_1_pass_where_the_file_says_that_there_is_a_class_0(tmp_path):
    text = npz(tmp_path, images=RGB, labels=np.array([1, 2]), classes=3)
    assert load_dataset(text, folder=tmp_path).classes == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": None}, "no array 'images'"),
        ({"labels": None}, "no array 'labels'"),
        ({"images": RGB.astype(np.int32) * 9}, "int32 from 0 to 1071: add the value that is white"),
        ({"images": RGB.astype(np.float32)}, "0 to 119: add the value that is white.*white=255"),
        ({"images": FLOATS * 1.5}, "0 to 1.5: .*white=2"),
        ({"images": FLOATS * 2 - 1}, r"scaled to \[-1, 1\]\? save \(x \+ 1\) / 2"),
        ({"images": (FLOATS - 0.4) / 0.2}, "normalised"),
        ({"images": FLOATS / 255}, "divided by 255 twice"),
        ({"images": np.full(RGB.shape, np.nan)}, "NaN or infinity"),
        ({"images": np.where(FLOATS > 0.5, np.inf, FLOATS)}, "NaN or infinity"),
        ({"images": (RGB > 50).astype(np.uint8)}, "none above 1.*white=1"),
        ({"images": (RGB % 17)}, "none above 16.*white=16"),
        ({"images": RGB, "white": 16}, "from 0 to white=16; got 0 to 119"),
        ({"images": RGB, "white": "x"}, "one number in white"),
        ({"images": RGB[:, :, :, :2]}, "with 1 or 3 channels"),
        ({"images": np.repeat(RGB[..., :1], 4, 3)}, r"images\[..., :3\]"),
        ({"images": np.full((2, 64), 99, np.uint8)}, r"save images.reshape\(-1, 8, 8\)"),
        ({"images": RGB[0], "labels": LABELS[:1]}, r"images\[None\]"),
        ({"images": RGB[0, 0]}, r"got \(5, 3\)"),
        ({"images": RGB[:0], "labels": LABELS[:0]}, "one label an image; got none"),
        ({"images": RGB[:0]}, "at least one pixel"),
        ({"images": RGB.astype(str)}, "bytes, or floats"),
        ({"labels": LABELS / 4}, "whole numbers, the classes; got float64 such as 0.5"),
        ({"labels": np.array([0, np.nan])}, "whole numbers"),
        ({"labels": np.array(["cat", "dog"])}, "number the classes"),
        ({"labels": np.ones((2, 3), dtype=int)}, "several labels, or none, in a row"),
        ({"labels": np.array([[1, 2], [3, 4]])}, "other values than 0 and 1"),
        ({"labels": LABELS[:1]}, "one image a label"),
        ({"labels": LABELS - 1}, "labels from 0; got -1 to 1"),
        ({"labels": np.array([1, 2])}, "count from 1: save labels - 1"),
        ({"labels": np.array([1, 2]), "classes": 2}, "count from 1: save labels - 1"),
        ({"classes": 2}, "labels from 0 to 1"),
        ({"labels": np.array([1, 5]), "classes": 5}, "count from 1. save labels - 1"),
        ({"classes": 2.5}, "one integer in classes"),
        ({"labels": np.eye(3)[LABELS], "classes": 5}, "contradicts itself.*rows of 3, classes=5"),
        ({"layout": "CNHW"}, "one of NHWC, NCHW"),
        ({"threat": "linf:-1"}, "above 0"),
        ({"train_images": RGB}, "no array 'train_labels'"),
        ({"test_images": RGB}, "two arrays of test images, 'images' and 'test_images'"),
        ({"x": RGB}, "two arrays of images, 'images' and 'x'"),
        ({"extra": LABELS}, "an array 'extra' that is not known"),
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
