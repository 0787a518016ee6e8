"""Handwritten digits, 8x8 grey, as they ship with scikit-learn."""

from __future__ import annotations

import hashlib
from functools import lru_cache

import torch
from sklearn.datasets import load_digits
from torch import Tensor

from benchmark.dataset import Dataset, Split

TEST_PER_CLASS = 50


class Digits(Dataset):
    """1,797 digits of 8x8 pixels with 17 grey levels (Alpaydin and Kaynak, UCI 1998), cut once and for all.

    scikit-learn gives them without a split, so this one is fixed here: in each class the images are sorted by
    the blake2b hash of `digits:<index>`; the first 50 are the test split (500 images, 50 a class), the others,
    1,297, the training split. Both keep scikit-learn's order. Pixels are its 0 to 16 over 16.
    """

    name = "digits"
    shape = (1, 8, 8)
    classes = 10
    threat = "linf:0.15"
    model = "digits-cnn"
    surrogates = ("digits-conv", "digits-mlp")
    strangers = ("digits-vgg",)

    def labels(self, split: Split) -> Tensor:
        """All labels of a split, `(n,)` int64."""
        return _loaded()[split][1].clone()

    def images(self, split: Split, indices: Tensor) -> Tensor:
        """Images `(b, 1, 8, 8)`, float32 in [0, 1]."""
        return _loaded()[split][0][indices]


@lru_cache(maxsize=1)
def _loaded() -> dict[Split, tuple[Tensor, Tensor]]:
    pixels, targets = load_digits(return_X_y=True)
    images = torch.from_numpy(pixels).float().div(16).view(-1, 1, 8, 8)
    labels = torch.from_numpy(targets).long()
    is_test = torch.zeros(len(labels), dtype=torch.bool)
    for label in range(10):
        members = (labels == label).nonzero().flatten().tolist()
        members.sort(key=lambda i: hashlib.blake2b(f"digits:{i}".encode()).digest())
        is_test[members[:TEST_PER_CLASS]] = True
    return {
        "train": (images[~is_test], labels[~is_test]),
        "test": (images[is_test], labels[is_test]),
    }
