"""Images and labels that were handed over from Python."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from benchmark.datasets.arrays import ROUNDING, ArrayDataset
from benchmark.engine.dataset import Split
from benchmark.errors import BenchError


class Given(ArrayDataset):
    """Images and labels handed over from Python; they are the test split, and there is no other.

    Args:
        images: `(n, c, h, w)`, floating point in [0, 1].
        labels: `(n,)`, whole numbers from 0.
        title: What the dataset is called in an entry.
    """

    threat = ""
    model = ""
    sampled = None

    def __init__(self, *, images: Tensor, labels: Tensor, classes: int, title: str) -> None:
        super().__init__(folder=Path())
        if images.ndim != 4 or len(images) != len(labels) or not len(images):
            raise BenchError(
                f"expected images (n, c, h, w) with n labels; got {tuple(images.shape)} and "
                f"{tuple(labels.shape)}"
            )
        if not (images.min() >= -ROUNDING and images.max() <= 1 + ROUNDING):
            raise BenchError("expected images in [0, 1]; divide by 255 if they are bytes")
        if not (labels.min() >= 0 and labels.max() < classes):
            raise BenchError(f"expected labels from 0 to {classes - 1}")
        self.name = title
        self.shape = (images.shape[1], images.shape[2], images.shape[3])
        self.classes = classes
        self._images = images.detach().cpu().clamp(0.0, 1.0)
        self._labels = labels.detach().cpu().long()

    def arrays(self, split: Split) -> tuple[Tensor, Tensor]:
        """Images and labels as they were given."""
        if split == "train":
            raise BenchError("images handed over from Python have no training split")
        return self._images, self._labels
