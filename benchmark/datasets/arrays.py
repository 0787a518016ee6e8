"""Arrays of images and labels as people have them: put into one form where that is unambiguous, else refused.

Each function raises a `BenchError` whose line begins with `what`, the array's own name and file.
"""

from __future__ import annotations

import copy
from abc import abstractmethod
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmark.engine.dataset import Dataset, Split
from benchmark.errors import BenchError

Array = NDArray[Any]
CHANNELS = (1, 3)
ROUNDING = 1e-4
"""How far floats may lie outside [0, 1] and be put back: a fortieth of a grey level."""
ROUNDING_HALF = 1e-3
"""The same of float16."""
FAINT = 31
"""Bytes that never exceed this are no photographs, but images of another scale: 0 to 1, 15, 16 or 31."""
LAYOUTS = {"NHWC": (0, 3, 1, 2), "NCHW": (0, 1, 2, 3), "HWCN": (3, 2, 0, 1)}
"""Orders of four axes, each with the places of n, c, h and w in it."""
FLAT_LAYOUTS = {"NHW": (0, 1, 2), "HWN": (2, 0, 1)}
"""The same of three, of grey images."""


class ArrayDataset(Dataset):
    """Images and labels that are in memory whole."""

    @abstractmethod
    def arrays(self, split: Split) -> tuple[Tensor, Tensor]:
        """Images `(n, c, h, w)`, bytes or floats in [0, 1], and labels `(n,)` int64.

        Raises:
            BenchError: There are none, they cannot be had, or they are damaged.
        """

    def labels(self, split: Split) -> Tensor:
        """All labels of a split, `(n,)` int64."""
        return self.arrays(split)[1].clone()

    def images(self, split: Split, indices: Tensor) -> Tensor:
        """Images `(b, c, h, w)` in [0, 1]: floats as they are, bytes over 255 in float32."""
        images = self.arrays(split)[0][indices]
        return images.float().div(255) if images.dtype == torch.uint8 else images

    def with_classes(self, classes: int) -> Self:
        """The same of so many classes, where it leaves them open."""
        if not self.has_open_classes:
            return super().with_classes(classes)
        twin = copy.copy(self)
        twin.classes, twin.has_open_classes = classes, False
        return twin


def to_labels(array: Array, what: str) -> tuple[Tensor, int | None]:
    """Labels `(n,)` int64, and the number of classes where the array's form says it (one-hot rows do).

    Taken are whole numbers of any type, `(n,)` or `(n, 1)`, and one-hot rows `(n, k)`.

    Raises:
        BenchError: They are something else.
    """
    if array.dtype.kind not in "biuf":
        raise BenchError(
            f"{what}: expected whole numbers from 0, the classes; got {array.dtype}: number the classes"
        )
    if not array.size:
        raise BenchError(f"{what}: expected one label an image; got none, shape {array.shape}")
    if array.ndim == 2 and array.shape[1] > 1:
        return _from_one_hot(array, what), array.shape[1]
    if array.ndim not in (1, 2):
        raise BenchError(f"{what}: expected labels of shape (n,); got {array.shape}")
    flat = array.reshape(-1)
    if array.dtype.kind == "f" and not (np.isfinite(flat).all() and (flat == np.round(flat)).all()):
        raise BenchError(
            f"{what}: expected whole numbers, the classes; got {array.dtype} such as {_odd(flat):g}"
        )
    return torch.from_numpy(flat.astype(np.int64)), None


def _odd(flat: Array) -> float:
    wrong = flat[~(np.isfinite(flat) & (flat == np.round(flat)))]
    return float(wrong[0])


def _from_one_hot(array: Array, what: str) -> Tensor:
    is_binary = bool(np.isin(array, (0, 1)).all())
    if not is_binary or not (array.sum(1) == 1).all():
        raise BenchError(
            f"{what}: expected one label an image, (n,), or one-hot rows; got {array.shape} with "
            + ("several labels, or none, in a row" if is_binary else "other values than 0 and 1")
        )
    return torch.from_numpy(array.argmax(1).astype(np.int64))


def refuse_labels(labels: Tensor, classes: int | None, what: str) -> int:
    """The number of classes: the one said, else the greatest label plus one.

    Args:
        labels: Of all splits together, `(n,)`.
        classes: The number that the file says, if it does.
        what: How a line begins.

    Raises:
        BenchError: Labels are below 0, count from 1, or do not fit into the classes.
    """
    low, high = int(labels.min()), int(labels.max())
    if low < 0:
        raise BenchError(
            f"{what}: expected labels from 0; got {low} to {high}: leave out images without a label, and "
            f"number the classes from 0"
        )
    counts_from_1 = low == 1 and high > 1 and len(set(labels.tolist())) == high
    if counts_from_1 and (classes is None or classes == high):
        raise BenchError(
            f"{what}: expected labels from 0; got all of 1 to {high}, which count from 1: save labels - 1 (or "
            f"add classes={high + 1} if class 0 exists and has no image here)"
        )
    found = max(2, high + 1) if classes is None else classes
    if high >= found or found < 2:
        hint = ": do they count from 1? save labels - 1" if low > 0 and high == found else ""
        raise BenchError(
            f"{what}: expected labels from 0 to {found - 1} and at least 2 classes; got {low} to {high}{hint}"
        )
    return found


def to_images(
    array: Array, *, n: int, what: str, layout: str = "", white: float | None = None
) -> Tensor:
    """Images `(n, c, h, w)`: bytes (0 to 255), or float32 in [0, 1].

    Args:
        array: Bytes or other whole numbers, booleans, or floats.
        n: How many labels there are: it tells which axis is the images'.
        what: How a line begins.
        layout: One of `LAYOUTS` or `FLAT_LAYOUTS`; empty where the shape alone is to say it.
        white: The value that is white; None for 255 of whole numbers, 1 of floats and booleans.

    Raises:
        BenchError: Shape or values are not those of images, or could mean several things.
    """
    if array.dtype.kind not in "biuf":
        raise BenchError(f"{what}: expected bytes, or floats in [0, 1]; got {array.dtype}")
    if not array.size:
        raise BenchError(f"{what}: expected at least one pixel; got shape {array.shape}")
    arranged = _arranged(array, n, layout.upper(), what)
    return _scaled(arranged, white, what)


def _arranged(array: Array, n: int, layout: str, what: str) -> Array:
    """The same with axes `(n, c, h, w)`."""
    forms = FLAT_LAYOUTS if array.ndim == 3 else LAYOUTS
    if layout and layout not in (*LAYOUTS, *FLAT_LAYOUTS):
        known = ", ".join((*LAYOUTS, *FLAT_LAYOUTS))
        raise BenchError(f"{what}: expected one of {known} in layout; got {layout!r}")
    if array.ndim not in (3, 4) or (layout and layout not in forms):
        hint = _flat_hint(array, n) if array.ndim == 2 else ""
        raise BenchError(
            f"{what}: expected (n, h, w, c), (n, c, h, w) or, grey, (n, h, w); got {array.shape}"
            f"{f' with layout {layout}' if layout else ''}{hint}"
        )
    fitting = [
        form
        for form, (count, *rest) in forms.items()
        if array.shape[count] == n
        and (len(rest) == 2 or array.shape[rest[0]] in CHANNELS)
        and layout in ("", form)
    ]
    if not fitting:
        raise BenchError(f"{what}: {_misfit(array, n)}")
    arranged = np.transpose(array, forms[fitting[0]])
    is_narrow = min(arranged.shape[-2:]) <= max(CHANNELS)  # a side that may be the channels
    if not layout and array.ndim == 4 and (len(fitting) > 1 or is_narrow):
        raise BenchError(
            f"{what}: {array.shape} with {n} labels could be in more than one order ({', '.join(fitting)}?): "
            f"add layout to the file, one of {', '.join(LAYOUTS)}"
        )
    return arranged[:, None] if arranged.ndim == 3 else arranged


def _misfit(array: Array, n: int) -> str:
    if n not in (array.shape[0], array.shape[-1]):
        alone = ": one image needs a first axis of 1, images[None]" if n == 1 else ""
        return f"expected one image a label; got shape {array.shape} and {n} labels{alone}"
    sides = f"(n, h, w, c) or (n, c, h, w) with {' or '.join(map(str, CHANNELS))} channels"
    hint = ": leave out the fourth (alpha), images[..., :3]" if 4 in array.shape[1:] else ""
    return f"expected {sides}; got {array.shape} and {n} labels{hint}"


def _flat_hint(array: Array, n: int) -> str:
    side = round((array.shape[1]) ** 0.5)
    if array.shape[0] != n or side * side != array.shape[1]:
        return ""
    return f": flat rows? save images.reshape(-1, {side}, {side})"


def _scaled(array: Array, white: float | None, what: str) -> Tensor:
    if array.dtype.kind == "b":
        return torch.from_numpy(array.astype(np.float32))
    low, high = float(array.min()), float(array.max())
    if array.dtype.kind == "f" and not np.isfinite((low, high)).all():
        raise BenchError(f"{what}: expected floats in [0, 1]; got NaN or infinity in them")
    if white is not None:
        if not (white > 0 and low >= 0 and high <= white):
            raise BenchError(
                f"{what}: expected values from 0 to white={white:g}; got {low:g} to {high:g}"
            )
        return torch.from_numpy((array / white).astype(np.float32))
    if array.dtype.kind == "f":
        return _from_floats(array, low, high, what)
    if low < 0 or high > 255:
        raise BenchError(
            f"{what}: expected bytes from 0 to 255; got {array.dtype} from {low:g} to {high:g}: add the value "
            f"that is white to the file (white={2**16 - 1 if high > 4095 else 4095})"
        )
    if high <= FAINT:
        raise BenchError(
            f"{what}: expected bytes from 0 to 255; got none above {high:g}, nearly black: add the value that "
            f"is white to the file (white={high:g}, or 255 if they are so dark), or save floats in [0, 1]"
        )
    return torch.from_numpy(np.ascontiguousarray(array.astype(np.uint8)))


def _from_floats(array: Array, low: float, high: float, what: str) -> Tensor:
    slack = ROUNDING_HALF if array.dtype.itemsize == 2 else ROUNDING
    if low < -slack:
        hint = (
            "scaled to [-1, 1]? save (x + 1) / 2"
            if high <= 1 + slack and low >= -1 - slack
            else "normalised? undo it, x * std + mean; normalisation belongs inside the classifier"
        )
        raise BenchError(f"{what}: expected floats in [0, 1]; got {low:g} to {high:g}: {hint}")
    if high > 1 + slack:
        raise BenchError(
            f"{what}: expected floats in [0, 1]; got {low:g} to {high:g}: add the value that is white to the "
            f"file (such as white={255 if high > FAINT else round(high + 0.49)}), or divide by it"
        )
    if 0 < high <= 1.01 / 255:
        raise BenchError(
            f"{what}: expected floats in [0, 1]; got none above {high:g}: divided by 255 twice? save x * 255"
        )
    return torch.from_numpy(array.astype(np.float32).clip(0.0, 1.0))
