"""Datasets of photographs in folders: listed once, decoded image by image when they are asked for."""

from __future__ import annotations

import copy
import os
import struct
import warnings
import zlib
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch
from PIL import Image
from torch import Tensor

from benchmark.datasets.preparation import Preparation
from benchmark.engine.dataset import Dataset, Split
from benchmark.errors import BenchError

SUFFIXES = frozenset({".jpeg", ".jpg", ".png", ".webp", ".bmp", ".ppm"})
"""Ends of the names of image files, in lower case."""
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "PPM")
"""What is read; Pillow knows others, some of which run programs."""


@dataclass(frozen=True, slots=True)
class Listing:
    """The images of a split: sorted by class, and within a class by file name.

    Args:
        root: The folder that paths are relative to.
        paths: Of each image; kept as text, since ImageNet has more than a million.
        labels: Of each image, `(n,)` int64.
    """

    root: Path
    paths: tuple[str, ...]
    labels: Tensor


class FolderDataset(Dataset):
    """Photographs in folders; memory holds their names and labels, and the images that were asked for.

    How many there are is the folders' to say: who holds a part of a dataset evaluates on that part, and the
    entry states how many images it met.
    """

    hint: str
    """Which files are expected, for a message: what to put where."""

    def __init__(self, *, folder: Path) -> None:
        super().__init__(folder=folder)
        self._listings: dict[Split, Listing] = {}

    @abstractmethod
    def list_images(self, split: Split) -> Listing:
        """Finds the images of a split; called once for each.

        Raises:
            BenchError: They are not there, or not in a layout that is known.
        """

    def labels(self, split: Split) -> Tensor:
        """All labels of a split, `(n,)` int64."""
        return self.listing(split).labels.clone()

    def images(self, split: Split, indices: Tensor) -> Tensor:
        """Images `(b, c, h, w)`, float32 in [0, 1]; only these files are opened."""
        listing, preparation = self.listing(split), Preparation.parse(self.preparation)
        x = torch.empty(len(indices), *self.shape)
        for row, index in enumerate(indices.tolist()):
            path = listing.root / listing.paths[index]
            image = preparation(read_image(path, mode="L" if self.shape[0] == 1 else "RGB"))
            if image.shape != self.shape:
                raise self.other_size(path, (image.shape[1], image.shape[2]))
            x[row] = image
        return x

    def other_size(self, path: Path, size: tuple[int, int]) -> BenchError:
        """The error for an image whose size `(h, w)` is not the dataset's."""
        return BenchError(
            f"expected an image of {self.shape[2]} x {self.shape[1]} pixels at {str(path)!r}; got "
            f"{size[1]} x {size[0]}; put {self.name}'s own file there"
        )

    def prepared_for(self, preparation: str) -> Self:
        """The same photographs under another preparation; those that are taken as they are have no other."""
        if not preparation or not self.preparation:
            return super().prepared_for(preparation)
        twin = copy.copy(self)
        twin.preparation = preparation
        twin.shape = Preparation.parse(preparation).shape or self.shape
        return twin

    def listing(self, split: Split) -> Listing:
        """The images of a split.

        Raises:
            BenchError: There are none.
        """
        if split not in self._listings:
            found = self.list_images(split)
            if not found.paths:
                raise BenchError(f"{self.name}: no image is in {str(found.root)!r}; {self.hint}")
            self._listings[split] = found
        return self._listings[split]


def read_image(path: Path, *, mode: str = "RGB") -> Image.Image:
    """A photograph in RGB, or another mode, whatever its own; no turn that EXIF data ask for is made.

    Raises:
        BenchError: It is missing, damaged, or no image.
    """
    try:
        with warnings.catch_warnings(), path.open("rb") as file:
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(file, formats=_FORMATS) as image:
                return image.convert(mode)
    except (
        OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error,
        Image.DecompressionBombError, Image.DecompressionBombWarning,
    ) as error:  # fmt: skip
        reason = " ".join(str(error).replace(str(path), "it").split()) or type(error).__name__
        raise BenchError(
            f"the image {str(path)!r} is missing or damaged ({reason}); put the dataset's own file there"
        ) from error


def list_by_class(root: Path, folders: Mapping[str, int]) -> Listing:
    """The images in the folders of the classes (names with labels), at any depth; one that is missing has none.

    Raises:
        BenchError: A folder cannot be read.
    """
    found = [
        (label, path)
        for name, label in folders.items()
        for path in image_names(root / name, prefix=f"{name}/")
    ]
    return sorted_listing(root, found)


def sorted_listing(root: Path, found: Iterable[tuple[int, str]]) -> Listing:
    """Labels and paths as a listing, sorted by class and file name, so that the layout decides no index."""
    ordered = sorted(found, key=lambda pair: (pair[0], pair[1].rpartition("/")[2], pair[1]))
    labels = torch.tensor([label for label, _ in ordered], dtype=torch.int64)
    return Listing(root, tuple(path for _, path in ordered), labels)


def folder_names(place: Path) -> list[str]:
    """The folders in a folder that are not hidden; none if it is missing."""
    if not place.is_dir():
        return []
    return [path.name for path in place.iterdir() if path.is_dir() and path.name[0] != "."]


def image_names(folder: Path, *, prefix: str = "") -> list[str]:
    """The image files at any depth below a folder, relative to it, each after `prefix`; none if it is missing.

    Raises:
        BenchError: The folder cannot be read.
    """
    names: list[str] = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir():
                    below = Path(entry.path)
                    names += image_names(below, prefix=f"{prefix}{entry.name}/")
                elif os.path.splitext(entry.name)[1].lower() in SUFFIXES:  # noqa: PTH122 (a million names)
                    names.append(f"{prefix}{entry.name}")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise BenchError(f"cannot list {str(folder)!r}: {error.strerror or error}") from error
    return names
