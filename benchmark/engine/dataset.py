"""Datasets: labelled images in [0, 1], loaded by index, in one fixed nested order."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Self

import torch
from torch import Tensor

from benchmark.errors import BenchError, ContractBroken

Split = Literal["train", "test"]
Order = Literal["nested", "robustbench"]
"""Of which order a subset is the first n: `Dataset.order`, or `Dataset.listed`."""
_PART = 256
"""Images that are in memory at once while a dataset's content is hashed."""
DECLARED = ("name", "shape", "classes", "threat", "model")
"""What every dataset says of itself."""


class Dataset(ABC):
    """Images and labels of one task.

    A subclass stores `folder` and reads nothing until it is asked for labels or images. What does not follow
    from the class (the shape of an `npz:` file) it sets as an instance attribute of the same name.

    Args:
        folder: Where its files are, or are to be put; a dataset that ships with a package ignores it.
    """

    name: str
    shape: tuple[int, int, int]
    """`(c, h, w)` of one image."""
    classes: int
    threat: str
    """The default threat, as `Threat.parse` reads it."""
    model: str
    """The default classifier's name; empty where there is none."""
    surrogates: tuple[str, ...] = ()
    """Classifiers of the same task from which transfer attacks are made, and defenses trained."""
    strangers: tuple[str, ...] = ()
    """Further ones for transfer, on which no defense is trained."""
    has_open_classes: bool = False
    """Whether `classes` is only what labels say, the least that there can be: a classifier may have more."""
    sampled: int | None = 256
    """How many test images `content_sha256` looks at; None for all, where none must be decoded for it."""
    preparation: str = ""
    """The way from stored files to images, as `prepared_for` takes it; empty where there is but one."""

    content: str = ""
    """What `content_sha256` found, once it was asked."""

    def __init__(self, *, folder: Path) -> None:
        self.folder = folder

    @abstractmethod
    def labels(self, split: Split) -> Tensor:
        """All labels of a split, `(n,)` int64.

        Raises:
            BenchError: The files are missing and cannot be downloaded, or are damaged.
        """

    @abstractmethod
    def images(self, split: Split, indices: Tensor) -> Tensor:
        """Images `(b, c, h, w)`, float32 in [0, 1], for indices `(b,)` into the split.

        Raises:
            BenchError: The files are missing and cannot be downloaded, or are damaged.
        """

    def prepared_for(self, preparation: str) -> Self:
        """The same dataset under another way from stored files to images, which decides their shape.

        Args:
            preparation: RobustBench's name for what it does to the images of one ImageNet model, such as
                `Res256Crop224`; empty for the dataset's own way.

        Raises:
            BenchError: This dataset has only its own.
        """
        if preparation:
            raise BenchError(
                f"dataset {self.name!r} has no preparation {preparation!r}: its images are taken as they are"
            )
        return self

    def with_classes(self, classes: int) -> Self:
        """The same dataset with so many classes, where it leaves them open.

        Raises:
            BenchError: It knows how many it has.
        """
        raise BenchError(f"dataset {self.name!r} has {self.classes} classes; got {classes}")

    def why_so_many_classes(self) -> str:
        """The end of a line that asks for that many classes, where labels alone said how many; else nothing."""
        if not self.has_open_classes:
            return ""
        return f", for its labels reach {self.classes - 1}: do they count from 1?"

    def order(self, split: Split = "test") -> Tensor:
        """Indices of a split `(n,)` in the one order of which every subset is the first n.

        Classes take turns as long as each still has images, so that a subset is class-balanced; within a
        class the order is that of a hash of the index, so that it hangs on no library's generator.
        """
        by_class: dict[int, list[int]] = defaultdict(list)
        for index, label in enumerate(self.labels(split).tolist()):
            by_class[label].append(index)
        for members in by_class.values():
            members.sort(key=lambda i: hashlib.blake2b(f"order:{i}".encode()).digest())
        ranked = [
            (rank, label, index)
            for label, members in by_class.items()
            for rank, index in enumerate(members)
        ]
        return torch.tensor([index for _, _, index in sorted(ranked)], dtype=torch.int64)

    def content_sha256(self) -> str:
        """The sha256, hex, of the test labels and of the first `sampled` test images, in `order`.

        A dataset that nobody has registered is called by it, beside its name.
        """
        digest = hashlib.sha256(",".join(map(str, labels_of(self, "test").tolist())).encode())
        first = indices_of(self, "test", "nested")[: self.sampled]
        for start in range(0, len(first), _PART):
            images = images_of(self, "test", torch.tensor(first[start : start + _PART]))
            digest.update(pixels_sha256(images, ()).encode())
        return digest.hexdigest()

    def listed(self, split: Split = "test") -> Tensor:
        """Indices of a split `(n,)` in the order whose first n are RobustBench's n images: the files' own."""
        return torch.arange(len(self.labels(split)))


def indices_of(dataset: Dataset, split: Split, order: Order) -> list[int]:
    """Indices into a split in one of its orders; the one door through which a run asks for them.

    Raises:
        ContractBroken: The labels are not what a dataset returns, or an order names an image twice, or one
            that there is not.
        BenchError: The files are missing or damaged.
    """
    n = len(labels_of(dataset, split))
    found = dataset.listed(split) if order == "robustbench" else dataset.order(split)
    indices: list[int] = found.tolist()
    if len(set(indices)) != len(indices) or not set(indices) <= set(range(n)):
        raise ContractBroken(
            f"dataset {dataset.name!r}: an order holds indices from 0 to {n - 1}, each at most once"
        )
    return indices


def refuse_undeclared(dataset: Dataset) -> None:
    """Refuses a dataset that does not say what it is.

    Raises:
        ContractBroken: An attribute is missing.
    """
    missing = [name for name in DECLARED if not hasattr(dataset, name)]
    if missing:
        raise ContractBroken(
            f"dataset {type(dataset).__name__} does not say its {', '.join(missing)}; a dataset has "
            f"{', '.join(DECLARED)} (benchmark.engine.dataset.Dataset)"
        )


def labels_of(dataset: Dataset, split: Split) -> Tensor:
    """All labels of a split, `(n,)` int64; the one door through which a run asks for them.

    Raises:
        ContractBroken: They are of another form, or out of range.
        BenchError: The files are missing or damaged.
    """
    labels = dataset.labels(split)
    if labels.ndim != 1 or labels.dtype != torch.int64 or not len(labels):
        raise ContractBroken(
            f"dataset {dataset.name!r}: labels() must return int64 of shape (n,), at least one; got "
            f"{labels.dtype} of shape {tuple(labels.shape)}"
        )
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= dataset.classes:
        raise ContractBroken(
            f"dataset {dataset.name!r} has {dataset.classes} classes, so labels from 0 to "
            f"{dataset.classes - 1}; got labels from {low} to {high}"
        )
    return labels


def images_of(dataset: Dataset, split: Split, indices: Tensor) -> Tensor:
    """Images `(b, c, h, w)`, float32 in [0, 1]; the one door through which a run asks for them.

    Raises:
        ContractBroken: They are of another form, or out of range.
        BenchError: The files are missing or damaged.
    """
    x = dataset.images(split, indices)
    expected = (len(indices), *dataset.shape)
    if tuple(x.shape) != expected or x.dtype not in (torch.float32, torch.float64):
        raise ContractBroken(
            f"dataset {dataset.name!r}: images() must return float32 of shape {expected}; got {x.dtype} of "
            f"shape {tuple(x.shape)}"
        )
    low, high = float(x.min()), float(x.max())
    if not (low >= 0 and high <= 1):  # written so that NaN fails too
        raise ContractBroken(
            f"dataset {dataset.name!r}: images() must return values in [0, 1]; got {low:g} to {high:g}"
        )
    return x


def pixels_sha256(images: Tensor, labels: Sequence[int]) -> str:
    """The sha256 of decoded pixels (float32, little-endian) and labels, hex."""
    digest = hashlib.sha256(images.detach().cpu().float().contiguous().numpy().tobytes())
    digest.update(",".join(map(str, labels)).encode())
    return digest.hexdigest()
