"""A folder with one folder of images for each class: `folder:PATH`, or `folder:PATH@PREPARATION`."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from benchmark.datasets.folder import (
    FolderDataset,
    Listing,
    folder_names,
    image_names,
    list_by_class,
)
from benchmark.datasets.paths import class_folder
from benchmark.datasets.preparation import Preparation
from benchmark.engine.dataset import Split
from benchmark.errors import BenchError
from benchmark.files.known_hashes import file_sha256

log = logging.getLogger(__name__)

TEST_FOLDERS = ("test", "val")
"""Where the test images are, in this order; else the folder's own folders are the classes."""
TRAIN_FOLDER = "train"
GREY = frozenset({"1", "L", "LA"})
DEEP = ("I", "F")
"""How the modes of images with more than 8 bits a value begin."""


class ClassFolders(FolderDataset):
    """Images in one folder a class, as torchvision's `ImageFolder` has them.

    The test images are those of `PATH/test`, else of `PATH/val`, else of `PATH` itself; those of `PATH/train`,
    if it is there, are for training. A class's label is the place of its folder's name among all names, sorted
    as text; test and training images have the same classes. The images are grey where all test images are.
    They must be of one size, or say how they become so: `folder:PATH@resize:256,crop:224`.

    Args:
        folder: The data folder, which this dataset does not use.
        place: The folder, with a preparation behind an `@` where there is one.

    Raises:
        BenchError: There is no such folder, no class in it, or its images are of several sizes.
    """

    model = ""
    hint = "put one folder of images a class there (.png, .jpg, ...)"

    def __init__(self, *, folder: Path, place: str) -> None:
        super().__init__(folder=folder)
        self.root, self.preparation = class_folder(place)
        prepared = Preparation.parse(self.preparation).shape
        self.name = f"folder-{self.root.resolve().name}"
        self.names = _class_names(self.root)
        self.classes = len(self.names)
        is_grey, size = self._looked_at()
        h, w = prepared[1:] if prepared else size
        self.shape = (1 if is_grey else 3, h, w)
        self.threat = "linf:0.1" if is_grey else "linf:8/255"

    def list_images(self, split: Split) -> Listing:
        """The images in the classes' folders; of the training split, none where there is no such folder."""
        place = _test_place(self.root) if split == "test" else self.root / TRAIN_FOLDER
        return list_by_class(place, {name: label for label, name in enumerate(self.names)})

    def other_size(self, path: Path, size: tuple[int, int]) -> BenchError:
        """The error for an image of another size than the first."""
        del path
        return self._several_sizes([self.shape[1:], size])

    def content_sha256(self) -> str:
        """The sha256 of all test images' files with their labels, hex; nothing is decoded."""
        listing, digest = self.listing("test"), hashlib.sha256()
        for name, label in zip(listing.paths, listing.labels.tolist(), strict=True):
            digest.update(f"{label} {file_sha256(listing.root / name)}\n".encode())
        return digest.hexdigest()

    def _looked_at(self) -> tuple[bool, tuple[int, int]]:
        """Whether all test images are grey, and their one size `(h, w)`; their headers alone are read."""
        listing = self.listing("test")
        headers = {_header(listing.root / name) for name in listing.paths}
        modes, sizes = {mode for mode, _ in headers}, {size for _, size in headers}
        if len(sizes) > 1 and not self.preparation:
            raise self._several_sizes(sorted(sizes)[:3])
        return modes <= GREY, next(iter(sizes))

    def _several_sizes(self, sizes: Sequence[tuple[int, int]]) -> BenchError:
        said = ", ".join(f"{h} x {w}" for h, w in sizes)
        h, w = sizes[0]
        return BenchError(
            f"dataset {self.name!r}: its images are of several sizes ({said}, ...): say how they become one, "
            f"such as --dataset 'folder:{self.root}@resize:{min(h, w)},crop:{min(h, w)}'"
        )


def _test_place(root: Path) -> Path:
    return next((root / name for name in TEST_FOLDERS if (root / name).is_dir()), root)


def _class_names(root: Path) -> list[str]:
    """The classes: the folders in which the test and training images are, sorted."""
    place = _test_place(root)
    names = set(folder_names(place))
    if place == root and names <= {TRAIN_FOLDER}:
        found = "only training images" if names else "no folder"
        flat = " but images outside of class folders" if image_names(root) and not names else ""
        raise BenchError(
            f"dataset folder {str(root)!r}: expected one folder of images a class, or "
            f"{' or '.join(TEST_FOLDERS)} with such folders; got {found}{flat}"
        )
    names.discard(TRAIN_FOLDER if place == root else "")
    names |= set(folder_names(root / TRAIN_FOLDER))
    if len(names) < 2:
        raise BenchError(
            f"dataset folder {str(place)!r}: expected a folder for each of at least 2 classes; got "
            f"{', '.join(sorted(names)) or 'none'}"
        )
    if all(name.isdigit() for name in names) and sorted(names) != sorted(names, key=int):
        log.warning(
            "folder %s: classes are sorted as text, as in torchvision: folder %r is class 2",
            root,
            sorted(names)[2],
        )
    return sorted(names)


def _header(path: Path) -> tuple[str, tuple[int, int]]:
    """Mode and size `(h, w)` of an image, from its header alone.

    Raises:
        BenchError: It is no image, or has more than 8 bits a value.
    """
    try:
        with path.open("rb") as file, Image.open(file) as image:
            mode, size = image.mode, (image.height, image.width)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        reason = " ".join(str(error).replace(str(path), "it").split()) or type(error).__name__
        raise BenchError(f"the image {str(path)!r} is damaged or none ({reason})") from error
    if mode.startswith(DEEP):
        raise BenchError(
            f"the image {str(path)!r} has more than 8 bits a value (mode {mode}): save it with 8"
        )
    return mode, size
