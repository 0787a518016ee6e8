"""Seeds: the few images of the task that a black-box attacker has of his own, never evaluated ones."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor

from benchmark.engine.dataset import Dataset, Split, images_of, indices_of
from benchmark.errors import BenchError


def seed_images(dataset: Dataset, split: Split, evaluated: Collection[int], n: int) -> Tensor:
    """Images `(n, c, h, w)`, float32 in [0, 1], class-balanced as far as the order of a split is.

    The first n of the training split; where there is none (images handed over, ImageNet's validation images
    alone), the last n of the evaluated split's own order that are not evaluated. The attacker has no labels
    but those that he asks the victim for.

    Args:
        dataset: The task.
        split: The evaluated one.
        evaluated: Indices of the evaluated images into it.
        n: How many.

    Raises:
        BenchError: There are not so many.
    """
    if split != "train":
        try:
            order = indices_of(dataset, "train", "nested")
        except BenchError:
            order = []
        if len(order) >= n:
            return images_of(dataset, "train", torch.tensor(order[:n]))
    taken = set(evaluated)
    left = [index for index in indices_of(dataset, split, "nested") if index not in taken]
    if len(left) < n:
        raise BenchError(
            f"an attack needs {n} images of its own; dataset {dataset.name!r} has fewer to train on, and "
            f"{len(left)} of its {split} images are not evaluated: evaluate fewer (--samples)"
        )
    return images_of(dataset, split, torch.tensor(left[-n:]))
