"""Datasets of one .npz file: either layout, bytes or floats, and one clear line where the file is wrong."""

from pathlib import Path

import numpy as np
import pytest
import torch

from benchmark.errors import BenchError
from benchmark.loading import load_dataset

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
