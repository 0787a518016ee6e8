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

from benchmark.errors import BenchError

Split = Literal["train", "test"]


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
    """Classifiers of the same task from which transfer attacks are made."""

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

    def order(self, split: Split = "test") -> Tensor:
        """Indices of a split `(n,)` in the one order from which every subset is the first n.

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


def pixels_sha256(images: Tensor, labels: Sequence[int]) -> str:
    """The sha256 of decoded pixels (float32, little-endian) and labels, hex."""
    digest = hashlib.sha256(images.detach().cpu().float().contiguous().numpy().tobytes())
    digest.update(",".join(map(str, labels)).encode())
    return digest.hexdigest()
