"""Images from outside: an `.npz` file of adversarial images, read without trust and held against an entry."""

from __future__ import annotations

import hashlib
import io
import math
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmark.errors import BenchError
from benchmark.files.npz_arrays import plain_array
from benchmark.files.parsing import DAMAGED
from benchmark.records.entry import Entry

NAMES = ("x_adv", "indices", "labels")
_FLOATS = (np.float32, np.float64)
_SLACK = 1 << 20
"""Bytes that an archive may take beyond its arrays at their greatest."""


@dataclass(frozen=True, slots=True)
class Outside:
    """Images from outside, each for another image of an entry.

    Args:
        x_adv: `(n, c, h, w)`, float32 or float64 as they came, in [0, 1] and without NaN.
        positions: Of their originals in the entry, `(n,)` int64.
        sha256: Of the file, hex.
    """

    x_adv: Tensor
    positions: Tensor
    sha256: str


def read_outside(path: Path, entry: Entry) -> Outside:
    """Adversarial images for images of an entry; nothing in the file is ever unpickled.

    Arrays of the file: `x_adv`, `(n, c, h, w)` in [0, 1], float32 or float64; `indices`, `(n,)` integers, which
    image of the dataset's split each was made from, in any order, each at most once (without it, `x_adv` holds
    one for each image of the entry, in its order); `labels`, `(n,)` integers, optional: the true ones.

    Raises:
        BenchError: It cannot be read, or is not of this form.
    """
    reader = _Reader(path, entry)
    arrays = reader.arrays()
    x_adv = reader.pixels(arrays)
    positions = reader.positions(arrays, len(x_adv))
    reader.refuse_other_labels(arrays, positions)
    return Outside(torch.from_numpy(x_adv), torch.tensor(positions), reader.sha256)


class _Reader:
    def __init__(self, path: Path, entry: Entry) -> None:
        self.path = path
        self.entry = entry
        most = 8 * entry.dataset.n * (math.prod(entry.threat.input_shape) + 2) + _SLACK
        try:
            with path.open("rb") as file:
                self.content = file.read(most + 1)
        except OSError as error:
            raise self.wrong(f"cannot be read: {error.strerror or error}") from error
        if len(self.content) > most:
            raise self.wrong(
                f"is larger than {most} bytes, and {entry.dataset.n} images of {entry.threat.input_shape} "
                f"are not"
            )
        self.sha256 = hashlib.sha256(self.content).hexdigest()

    def wrong(self, what: str) -> BenchError:
        return BenchError(f"challenge {str(self.path)!r} {what}")

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All arrays of the archive; what a header promises is known before anything is unpacked."""
        try:
            with zipfile.ZipFile(io.BytesIO(self.content)) as archive:
                members = archive.infolist()
                names = [member.filename.removesuffix(".npy") for member in members]
                unknown = [name for name in names if name not in NAMES]
                if unknown or len(set(names)) != len(names) or "x_adv" not in names:
                    raise self.wrong(
                        f"holds {', '.join(map(repr, names)) or 'nothing'}; expected x_adv, and optionally "
                        f"indices and labels, each once"
                    )
                found = {}
                for name, member in zip(names, members, strict=True):
                    with archive.open(member) as stream:
                        found[name] = self._array(name, stream)
                return found
        except DAMAGED as error:
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise self.wrong(
                f"is damaged or no .npz archive ({reason}); write it with numpy.savez_compressed"
            ) from error

    def _array(self, name: str, stream: IO[bytes]) -> NDArray[Any]:
        def check(shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
            n, pixels = self.entry.dataset.n, self.entry.threat.input_shape
            wanted = (n, *pixels) if name == "x_adv" else (n,)
            is_long = len(shape) == len(wanted) and 0 < shape[0] <= wanted[0]
            if not is_long or shape[1:] != wanted[1:]:
                raise self.wrong(
                    f"holds {name} of shape {tuple(shape)}; expected {('n', *wanted[1:])} with n from 1 to "
                    f"{wanted[0]}, the number of images of the entry".replace("'n'", "n")
                )
            if name == "x_adv" and dtype.newbyteorder("=") not in _FLOATS:
                raise self.wrong(
                    f"holds x_adv as {dtype}; expected float32 or float64 in [0, 1] (bytes over 255)"
                )
            if name != "x_adv" and dtype.kind not in "iu":
                raise self.wrong(f"holds {name} as {dtype}; expected integers")

        return plain_array(stream, name, check=check, wrong=self.wrong)

    def pixels(self, arrays: dict[str, NDArray[Any]]) -> NDArray[Any]:
        """The images, in [0, 1]."""
        x_adv = arrays["x_adv"]
        x_adv = np.array(x_adv, dtype=x_adv.dtype.newbyteorder("="), order="C")
        low, high = float(x_adv.min()), float(x_adv.max())
        if not (low >= 0 and high <= 1):  # written so that NaN fails too
            raise self.wrong(f"holds values from {low:g} to {high:g} in x_adv; expected [0, 1]")
        return x_adv

    def positions(self, arrays: dict[str, NDArray[Any]], n: int) -> list[int]:
        """Which image of the entry each was made from."""
        images = self.entry.per_image.indices
        if "indices" not in arrays:
            if n != len(images):
                raise self.wrong(
                    f"holds {n} images and no indices; expected one for each of the entry's {len(images)} "
                    f"images in its order, or an array indices"
                )
            return list(range(n))
        indices = [int(index) for index in arrays["indices"]]
        if len(indices) != n:
            raise self.wrong(f"holds {len(indices)} indices for {n} images; expected one an image")
        if len(set(indices)) != n:
            raise self.wrong("names an image twice in indices; hand in the best one for each")
        place = {index: i for i, index in enumerate(images)}
        foreign = [index for index in indices if index not in place]
        if foreign:
            raise self.wrong(
                f"is for image {foreign[0]}, which the entry was not evaluated on; its images are its "
                f"per_image.indices"
            )
        return [place[index] for index in indices]

    def refuse_other_labels(self, arrays: dict[str, NDArray[Any]], positions: list[int]) -> None:
        """Refuses labels that are not the true ones: then the images are others, or in another order."""
        if "labels" not in arrays:
            return
        true = [self.entry.per_image.labels[i] for i in positions]
        found = [int(label) for label in arrays["labels"]]
        if found != true:
            raise self.wrong(
                "has other labels than the entry's images; expected the true ones, in the order of x_adv"
            )
