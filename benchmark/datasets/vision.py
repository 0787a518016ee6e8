"""MNIST, Fashion-MNIST, CIFAR and SVHN, in torchvision's layout, downloaded when they are absent."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torchvision import datasets as sources

from benchmark.datasets.archives import archives_of, unpacked
from benchmark.datasets.arrays import ArrayDataset
from benchmark.engine.dataset import Split
from benchmark.errors import BenchError
from benchmark.files.temporary import part_folder

_IDX = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
_CIFAR_SIZES: dict[Split, int] = {"train": 50_000, "test": 10_000}
_MNIST_SIZES: dict[Split, int] = {"train": 60_000, "test": 10_000}


def _of_both(names: Sequence[str]) -> dict[Split, Sequence[str]]:
    return {"train": names, "test": names}


class VisionDataset(ArrayDataset):
    """A dataset that torchvision reads; pixels stay bytes in memory until they are asked for."""

    source: Callable[..., Any]
    """torchvision's class, called with `root`, `train` and `download`; it names its archives."""
    subfolder: str
    """Where in the data folder torchvision puts its files."""
    files: Mapping[Split, Sequence[str]]
    """The names of those that each split wants: all, where splits are no files of their own."""
    sizes: Mapping[Split, int]
    """How many images each split has."""

    def __init__(self, *, folder: Path) -> None:
        super().__init__(folder=folder)
        self._read: dict[Split, tuple[Tensor, Tensor]] = {}

    def arrays(self, split: Split) -> tuple[Tensor, Tensor]:
        """Images `(n, c, h, w)`, bytes, and labels `(n,)` int64, downloaded where they are missing."""
        if split not in self._read:
            self._fetch(split)
            self._read[split] = self._loaded(split)
        return self._read[split]

    def _fetch(self, split: Split) -> None:
        """Downloads what is missing into a folder aside, and moves it to its place when all is whole."""
        place = self.folder / self.subfolder
        missing = [name for name in self.files[split] if not (place / name).is_file()]
        if not missing:
            return
        try:
            with part_folder(self.folder / type(self).__name__) as aside:
                archives = archives_of(self.source, self.subfolder, train=split == "train")
                unpacked(archives, self.folder, aside)
                place.mkdir(parents=True, exist_ok=True)
                for name in missing:
                    next(aside.rglob(name)).replace(place / name)
        except BenchError as error:
            raise BenchError(
                f"{self.name} lacks {', '.join(missing)} in {str(place)!r}: {error}, or name another folder "
                f"with --data"
            ) from error
        except (OSError, StopIteration) as error:
            reason = str(error).strip() or "its archive lacks them"
            raise BenchError(
                f"{self.name} cannot be unpacked into {str(place)!r} ({reason}); put {', '.join(missing)} "
                f"there, or name another folder with --data"
            ) from error

    def _loaded(self, split: Split) -> tuple[Tensor, Tensor]:
        place = self.folder / self.subfolder
        damaged = (
            f"the files of {self.name} in {str(place)!r} are damaged; delete "
            f"{', '.join(self.files[split])} there, and get them again"
        )
        try:
            read = self.source(root=str(self.folder), train=split == "train", download=False)
        except (
            AssertionError, ValueError, RuntimeError, OSError, EOFError, KeyError, pickle.UnpicklingError,
        ) as error:  # fmt: skip
            raise BenchError(damaged) from error
        pixels = torch.as_tensor(read.data)
        pixels = pixels.unsqueeze(1) if pixels.ndim == 3 else pixels.permute(0, 3, 1, 2)
        labels = torch.as_tensor(read.targets, dtype=torch.int64)
        fits = pixels.shape[1:] == self.shape and len(pixels) == self.sizes[split]
        if not fits or len(labels) != len(pixels) or int(labels.max()) >= self.classes:
            raise BenchError(damaged)
        return pixels.contiguous(), labels


class MNIST(VisionDataset):
    """Handwritten digits (LeCun, Bottou, Bengio and Haffner, Proc. IEEE 1998): 60,000 and 10,000 images."""

    name = "mnist"
    shape = (1, 28, 28)
    classes = 10
    threat = "linf:0.3"
    model = "mnist-cnn"
    surrogates = ("mnist-conv", "mnist-mlp")
    strangers = ("mnist-vgg",)
    source = sources.MNIST
    sizes = _MNIST_SIZES
    subfolder = "MNIST/raw"
    files = _of_both(_IDX)


class FashionMNIST(VisionDataset):
    """Articles of clothing (Xiao, Rasul and Vollgraf, 2017): 60,000 and 10,000 images."""

    name = "fashion_mnist"
    shape = (1, 28, 28)
    classes = 10
    threat = "linf:0.1"
    model = "fashion-cnn"
    surrogates = ("fashion-conv", "fashion-mlp")
    strangers = ("fashion-vgg",)
    source = sources.FashionMNIST
    sizes = _MNIST_SIZES
    subfolder = "FashionMNIST/raw"
    files = _of_both(_IDX)


class CIFAR10(VisionDataset):
    """Small colour photographs (Krizhevsky, 2009): 50,000 and 10,000 images.

    Its files are pickles; torchvision compares each with its published MD5 before it reads one.
    """

    name = "cifar10"
    shape = (3, 32, 32)
    classes = 10
    threat = "linf:8/255"
    model = "standard-r18"
    source = sources.CIFAR10
    sizes = _CIFAR_SIZES
    subfolder = "cifar-10-batches-py"
    files = _of_both([*(f"data_batch_{i}" for i in range(1, 6)), "test_batch", "batches.meta"])


class CIFAR100(VisionDataset):
    """Small colour photographs under their 100 fine labels (Krizhevsky, 2009): 50,000 and 10,000 images."""

    name = "cifar100"
    shape = (3, 32, 32)
    classes = 100
    threat = "linf:8/255"
    model = ""
    source = sources.CIFAR100
    sizes = _CIFAR_SIZES
    subfolder = "cifar-100-python"
    files = _of_both(["train", "test", "meta"])


class _SVHNSource(sources.SVHN):  # type: ignore[misc]
    """torchvision's reader, called like those of the others; it checks the MD5 before it reads a file."""

    def __init__(self, root: str, *, train: bool, download: bool) -> None:
        super().__init__(root, split="train" if train else "test", download=download)
        self.data: Any = self.data.transpose(0, 2, 3, 1)  # (n, h, w, c), as CIFAR's
        self.targets: Any = self.labels


class SVHN(VisionDataset):
    """House numbers from the street (Netzer et al., NIPS workshop 2011): 73,257 and 26,032 images.

    Labels are the digits, 0 for a zero. The threat is CIFAR-10's; AID-Purifier (Hwang et al. 2021) takes
    linf:12/255, ADD-Defense linf:0.025.
    """

    name = "svhn"
    shape = (3, 32, 32)
    classes = 10
    threat = "linf:8/255"
    model = ""
    source = _SVHNSource
    sizes: Mapping[Split, int] = {"train": 73_257, "test": 26_032}
    subfolder = "."
    files: Mapping[Split, Sequence[str]] = {
        "train": ["train_32x32.mat"],
        "test": ["test_32x32.mat"],
    }
