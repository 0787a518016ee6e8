"""Datasets out of one NumPy file: `npz:FILE`."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmark.damage import DAMAGED
from benchmark.dataset import Dataset, Split
from benchmark.errors import BenchError
from benchmark.fetching.expansion import refuse_bomb
from benchmark.fetching.limits import DATASET
from benchmark.threat import Threat

_CHANNELS = (1, 3)
_KEYS = {"images", "labels", "train_images", "train_labels", "classes", "layout", "threat"}


class NpzDataset(Dataset):
    """Labelled images from a file that `numpy.savez` wrote; nothing in it is ever unpickled.

    Arrays of the file:

    - `images`: the test images, uint8 (0 to 255) or floating (0 to 1), `(n, h, w, c)`, `(n, c, h, w)` or, grey,
      `(n, h, w)`; c is 1 or 3.
    - `labels`: `(n,)` integers from 0.
    - `train_images`, `train_labels`: optional, of the same form.
    - `layout`: optional, `NHWC` or `NCHW`; needed only where both fit the shape.
    - `classes`: optional, the number of classes; by default the greatest label plus one.
    - `threat`: optional, such as `linf:8/255`, which is the default for colour; for grey it is `linf:0.1`.

    Args:
        folder: The data folder, which this dataset does not use.
        file: The `.npz` file.

    Raises:
        BenchError: The file is missing, damaged, or not of this form.
    """

    model = ""

    def __init__(self, *, folder: Path, file: Path) -> None:
        super().__init__(folder=folder)
        self.file = file
        self.name = f"npz-{file.stem}"
        arrays = self._arrays()
        unknown = sorted(set(arrays) - _KEYS)
        if unknown:
            raise self._wrong(
                f"knows no array {unknown[0]!r}; it may hold {', '.join(sorted(_KEYS))}"
            )
        self._splits: dict[Split, tuple[Tensor, Tensor]] = {"test": self._split(arrays, "")}
        if "train_images" in arrays or "train_labels" in arrays:
            self._splits["train"] = self._split(arrays, "train_")
        c, h, w = self._splits["test"][0].shape[1:]
        self.shape = (c, h, w)
        if any(images.shape[1:] != self.shape for images, _ in self._splits.values()):
            raise self._wrong("needs training images of the shape of the test images")
        self.classes = self._classes(arrays)
        default = "linf:8/255" if c == 3 else "linf:0.1"
        self.threat = str(Threat.parse(str(arrays.get("threat", default))))

    def labels(self, split: Split) -> Tensor:
        """All labels of a split, `(n,)` int64."""
        return self._of(split)[1].clone()

    def images(self, split: Split, indices: Tensor) -> Tensor:
        """Images `(b, c, h, w)`, float32 in [0, 1]; bytes over 255."""
        images = self._of(split)[0][indices]
        return images.float().div(255) if images.dtype == torch.uint8 else images

    def _of(self, split: Split) -> tuple[Tensor, Tensor]:
        if split not in self._splits:
            raise self._wrong("has no training images; add train_images and train_labels")
        return self._splits[split]

    def _wrong(self, what: str) -> BenchError:
        return BenchError(f"npz dataset {str(self.file)!r} {what}")

    def _arrays(self) -> dict[str, NDArray[np.generic]]:
        if not self.file.is_file():
            raise self._wrong("does not exist; give npz:FILE with an existing file")
        if not zipfile.is_zipfile(self.file):
            raise self._wrong("is damaged or no .npz archive; write it with numpy.savez")
        refuse_bomb(self.file, DATASET)
        try:
            with self.file.open("rb") as opened, np.load(opened, allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files}
        except DAMAGED as error:
            reason = str(error).split("\n")[0]
            raise self._wrong(f"cannot be read ({reason}); write it with numpy.savez") from error
        foreign = [name for name, found in arrays.items() if not isinstance(found, np.ndarray)]
        if foreign:
            raise self._wrong(f"holds {foreign[0]!r}, no array; write it with numpy.savez")
        return arrays

    def _split(self, arrays: dict[str, NDArray[np.generic]], prefix: str) -> tuple[Tensor, Tensor]:
        for name in (f"{prefix}images", f"{prefix}labels"):
            if name not in arrays:
                raise self._wrong(f"has no array {name!r}; it holds {', '.join(sorted(arrays))}")
        images, labels = arrays[f"{prefix}images"], arrays[f"{prefix}labels"]
        if not np.issubdtype(labels.dtype, np.integer) or labels.ndim != 1:
            raise self._wrong(
                f"needs integers of shape (n,) in {prefix}labels; got {labels.dtype} of {labels.shape}"
            )
        pixels = self._pixels(images, str(arrays.get("layout", "")), f"{prefix}images")
        if len(pixels) != len(labels) or not len(labels):
            raise self._wrong(
                f"needs one label an image, at least one; got {len(images)} {prefix}images and "
                f"{len(labels)} {prefix}labels"
            )
        return pixels, torch.from_numpy(labels.astype(np.int64))

    def _pixels(self, images: NDArray[np.generic], layout: str, name: str) -> Tensor:
        """Images `(n, c, h, w)`, bytes as they came or float32."""
        is_float = np.issubdtype(images.dtype, np.floating)
        if not is_float and images.dtype != np.uint8:
            raise self._wrong(f"needs uint8, or floats in [0, 1], in {name}; got {images.dtype}")
        if not images.size:
            raise self._wrong(f"needs at least one pixel in {name}; got shape {images.shape}")
        if is_float:
            low, high = float(images.min()), float(images.max())
            if not (low >= 0 and high <= 1):  # written so that NaN fails too
                raise self._wrong(f"needs floats in [0, 1] in {name}; got {low:g} to {high:g}")
        if images.ndim == 3:
            images = images[:, None]
            layout = "NCHW"
        channels = {"NCHW": 1, "NHWC": 3}
        if layout and layout not in channels:
            raise self._wrong(f"needs NHWC or NCHW in layout; got {layout!r}")
        fitting = [
            form
            for form, axis in channels.items()
            if images.ndim == 4 and images.shape[axis] in _CHANNELS and layout in ("", form)
        ]
        if len(fitting) != 1:
            why = "both NHWC and NCHW fit it: add layout" if fitting else "channels must be 1 or 3"
            raise self._wrong(
                f"needs (n, h, w, c), (n, c, h, w) or (n, h, w) in {name}; got {images.shape}: {why}"
            )
        pixels = torch.from_numpy(images.astype(np.float32) if is_float else images)
        if fitting == ["NHWC"]:
            pixels = pixels.permute(0, 3, 1, 2).contiguous()
        return pixels

    def _classes(self, arrays: dict[str, NDArray[np.generic]]) -> int:
        labels = torch.cat([labels for _, labels in self._splits.values()])
        low, high = int(labels.min()), int(labels.max())
        given = arrays.get("classes")
        if given is not None and (given.size != 1 or not np.issubdtype(given.dtype, np.integer)):
            raise self._wrong(f"needs one integer in classes; got {given.dtype} of {given.shape}")
        classes = max(2, high + 1) if given is None else int(given.item())
        if low < 0 or high >= classes or classes < 2:
            raise self._wrong(
                f"needs labels from 0 to {classes - 1} and at least 2 classes; got labels from {low} to {high}"
            )
        return classes
