"""Handwritten digits, 8x8 grey: those of scikit-learn, which ship with this package."""

from __future__ import annotations

import hashlib
import io
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmark.datasets.arrays import ArrayDataset
from benchmark.engine.dataset import Split
from benchmark.errors import BenchError

TEST_PER_CLASS = 50
_FILE = Path(__file__).with_name("digits.npz")
_SHA256 = "b2dab7b501728c22e9119ad76740b2e17c77a231e42d1e592380d90886f1a05e"


class Digits(ArrayDataset):
    """1,797 digits of 8x8 pixels with 17 grey levels (Alpaydin and Kaynak, UCI 1998; CC BY 4.0).

    They are those of scikit-learn's `load_digits` and in its order; importing scikit-learn takes longer than a
    small run. It gives them without a split, so this one is fixed here: in each class the images are sorted by
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

    def arrays(self, split: Split) -> tuple[Tensor, Tensor]:
        """Images `(n, 1, 8, 8)`, float32 in [0, 1], and labels `(n,)` int64."""
        return _loaded()[split]


@lru_cache(maxsize=1)
def _loaded() -> dict[Split, tuple[Tensor, Tensor]]:
    content = _FILE.read_bytes()
    if hashlib.sha256(content).hexdigest() != _SHA256:
        raise BenchError(
            f"{str(_FILE)!r} is not the file that was published; install purifybench again"
        )
    with np.load(io.BytesIO(content)) as arrays:
        pixels, targets = arrays["images"], arrays["labels"]
    images = torch.from_numpy(pixels).float().div(16).unsqueeze(1)
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
