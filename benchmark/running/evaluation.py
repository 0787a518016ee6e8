"""The same as `bench run`, from Python."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from torch import Tensor, nn

from benchmark.dataset import Dataset, Split
from benchmark.datasets.arrays import ROUNDING
from benchmark.defense import Defense
from benchmark.errors import BenchError
from benchmark.publishing.entry import Entry
from benchmark.running.request import Request
from benchmark.running.run import Listener, run
from benchmark.threat import Threat


class Given(Dataset):
    """Images and labels handed over from Python; they are the test split, and there is no other.

    Args:
        images: `(n, c, h, w)`, floating point in [0, 1].
        labels: `(n,)`, whole numbers from 0.
        classes: Number of classes.
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

    def with_classes(self, classes: int) -> Self:
        """The same of so many classes."""
        twin = copy.copy(self)
        twin.classes, twin.has_open_classes = classes, False
        return twin

    def labels(self, split: Split) -> Tensor:
        """All labels, `(n,)` int64."""
        self._refuse_training(split)
        return self._labels

    def images(self, split: Split, indices: Tensor) -> Tensor:
        """Images `(b, c, h, w)` for indices `(b,)`."""
        self._refuse_training(split)
        return self._images[indices]

    @staticmethod
    def _refuse_training(split: Split) -> None:
        if split == "train":
            raise BenchError("images handed over from Python have no training split")


def evaluate(
    defense: str | Defense | None = None,
    model: str | nn.Module | None = None,
    *,
    dataset: str | Dataset | tuple[Tensor, Tensor] | None = None,
    threat: str | Threat | None = None,
    options: Request | None = None,
    identity: str | None = None,
    listener: Listener | None = None,
) -> Entry:
    """Evaluates a purifier in front of a classifier and returns the entry that a leaderboard would publish.

    Each setting has one place: what is given here is not given in `options` too, unless it is the same.

    Args:
        defense: A name, `module:Class`, a chain, or a prepared-by-nobody `Defense` object; None for that of
            `options`.
        model: A classifier's name, or any module from images in [0, 1] to logits; None for that of `options`,
            else the dataset's.
        dataset: A name, a `Dataset`, or `(images, labels)`; None for that of `options`, else the model's.
        threat: Such as `linf:8/255`; needed where images are handed over; None for that of `options`, else the
            model's or the dataset's.
        options: Everything else (`Request(defense=..., protocol="standard", samples=64, ...)`).
        identity: A text that tells the objects given here from others, where they hold what no hash sees; None
            for that of `options`.
        listener: Told of progress.

    Returns:
        The entry. Nothing is written but the shards under `options.runs`.

    Raises:
        BenchError: The request cannot be met as it stands, or `options` says otherwise than an argument.
    """
    given = {
        "defense": defense,
        "model": model,
        "dataset": dataset,
        "threat": threat,
        "identity": identity or None,
    }
    wanted = {name: _agreed(name, value, options) for name, value in given.items()}
    wanted["identity"] = wanted["identity"] or ""
    if wanted["defense"] is None:
        raise BenchError("evaluate needs a defense, such as evaluate('jpeg')")
    if isinstance(wanted["dataset"], tuple):
        wanted["dataset"] = _given(wanted["dataset"], wanted["threat"])
    request = replace(options, **wanted) if options else Request(**wanted)
    return run(request, listener)


def _agreed(name: str, given: Any, options: Request | None) -> Any:
    """A setting, from its argument or from the options.

    Raises:
        BenchError: Both have one, and they differ.
    """
    known = getattr(options, name, None)
    known = None if isinstance(known, str) and not known else known
    if given is None or known is None:
        return known if given is None else given
    if given is known or _same(given, known):
        return given
    raise BenchError(
        f"{name} is given twice: evaluate has {_said(given)}, and its options have {_said(known)}; give it once"
    )


def _same(given: object, known: object) -> bool:
    """Whether two texts, or threats, say one thing; of objects only one and the same does."""
    if isinstance(given, Threat) or isinstance(known, Threat):
        given, known = str(given), str(known)
    return isinstance(given, str) and given == known


def _said(value: object) -> str:
    return repr(str(value) if isinstance(value, str | Threat) else type(value).__name__)


def _given(pair: tuple[Tensor, Tensor], threat: object) -> Dataset:
    """Images and labels as a dataset.

    Raises:
        BenchError: They are not of that form, or nobody says what threat is meant.
    """
    if threat is None:
        raise BenchError("images handed over need a threat, such as threat='linf:8/255'")
    images, labels = pair
    classes = int(labels.max()) + 1 if len(labels) else 0
    dataset = Given(images=images, labels=labels, classes=max(2, classes), title="given")
    dataset.has_open_classes = True
    return dataset
