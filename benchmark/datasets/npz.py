"""Datasets out of one NumPy file: `npz:FILE`."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmark.datasets.arrays import Array, ArrayDataset, refuse_labels, to_images, to_labels
from benchmark.datasets.paths import npz_file
from benchmark.engine.dataset import Split
from benchmark.engine.threat import Threat
from benchmark.errors import BenchError
from benchmark.files.expansion import refuse_bomb
from benchmark.files.limits import DATASET
from benchmark.files.parsing import DAMAGED

_IMAGES = ("images", "image", "imgs", "x", "data", "arr_0")
_LABELS = ("labels", "label", "y", "targets", "target", "arr_1")
_SPLITS = {"test": "test", "train": "train", "val": "val", "valid": "val", "validation": "val"}
_OPTIONS = ("classes", "class_names", "layout", "white", "threat")
FORM = "images and labels, x_test and y_test, or test_images and test_labels"


class NpzDataset(ArrayDataset):
    """Labelled images from a file that `numpy.savez` wrote; nothing in it is ever unpickled.

    Arrays of the file, by the names that people give them (`images`, `x`, `data`; `labels`, `y`, `targets`),
    each with `test`, `train` or `val` before or behind it; without one they are the test split:

    - images: bytes (0 to 255), floats (0 to 1) or booleans, `(n, h, w, c)`, `(n, c, h, w)`, `(h, w, c, n)` or,
      grey, `(n, h, w)`; c is 1 or 3.
    - labels: whole numbers from 0, `(n,)` or `(n, 1)`, or one-hot rows.
    - `classes`: optional, the number of classes; else that of one-hot rows or of `class_names`; else the
      classifier's, at least the greatest label plus one.
    - `layout`: optional, such as `NHWC`; needed only where several fit the shape.
    - `white`: optional, the value that is white, such as 16.
    - `threat`: optional, such as `linf:8/255`, which is the default for colour; for grey it is `linf:0.1`.

    The `val` images are the test split where there is no other, else they are not used.

    Args:
        folder: The data folder, which this dataset does not use.
        file: The `.npz` file.

    Raises:
        BenchError: The file is missing, damaged, or not of this form.
    """

    model = ""
    sampled = None

    def __init__(self, *, folder: Path, file: Path) -> None:
        super().__init__(folder=folder)
        self.file = file
        self.name = f"npz-{file.stem}"
        arrays = self._arrays()
        pairs = self._pairs(arrays)
        options = {name: arrays[name] for name in _OPTIONS if name in arrays}
        said: list[int] = []
        self._splits: dict[Split, tuple[Tensor, Tensor]] = {}
        for split, names in pairs.items():
            self._splits[split], classes = self._split(arrays, names, options)
            said += [classes] if classes is not None else []
        c, h, w = self._splits["test"][0].shape[1:]
        self.shape = (c, h, w)
        if any(images.shape[1:] != self.shape for images, _ in self._splits.values()):
            raise self._wrong("needs training images of the shape of the test images")
        known = self._classes(options, said)
        labels = torch.cat([labels for _, labels in self._splits.values()])
        self.classes = refuse_labels(labels, known, self._what(pairs["test"][1]))
        self.has_open_classes = known is None
        default = "linf:8/255" if c == 3 else "linf:0.1"
        self.threat = str(Threat.parse(str(options.get("threat", default))))

    def arrays(self, split: Split) -> tuple[Tensor, Tensor]:
        """Images `(n, c, h, w)`, bytes or float32 in [0, 1], and labels `(n,)` int64."""
        if split not in self._splits:
            raise self._wrong("has no training images; add train_images and train_labels")
        return self._splits[split]

    def _wrong(self, what: str) -> BenchError:
        return BenchError(f"npz dataset {str(self.file)!r} {what}")

    def _what(self, array: str) -> str:
        return f"npz dataset {str(self.file)!r}, array {array!r}"

    def _arrays(self) -> dict[str, Array]:
        npz_file(self.file)
        if not zipfile.is_zipfile(self.file):
            raise self._wrong("is damaged or no .npz archive; write it with numpy.savez")
        refuse_bomb(self.file, DATASET)
        arrays: dict[str, Array] = {}
        name = ""
        try:
            with self.file.open("rb") as opened, np.load(opened, allow_pickle=False) as archive:
                for name in archive.files:
                    arrays[name] = archive[name]
        except DAMAGED as error:
            reason = str(error).split("\n")[0]
            if "allow_pickle" in reason:
                reason = f"{name!r} holds Python objects, which are never unpickled"
            raise self._wrong(
                f"cannot be read ({reason}); write plain numbers with numpy.savez"
            ) from error
        foreign = [name for name, found in arrays.items() if not isinstance(found, np.ndarray)]
        if foreign:
            raise self._wrong(f"holds {foreign[0]!r}, no array; write it with numpy.savez")
        return arrays

    def _pairs(self, arrays: Mapping[str, Array]) -> dict[Split, tuple[str, str]]:
        """The names of a split's images and labels, the test split's first."""
        found: dict[str, dict[str, str]] = {}
        for name in sorted(arrays):
            split, role = _split_and_role(name)
            if not role:
                if name not in _OPTIONS:
                    raise self._wrong(
                        f"has an array {name!r} that is not known; it may hold {FORM}, and "
                        f"{', '.join(_OPTIONS)}"
                    )
                continue
            other = found.setdefault(split, {}).setdefault(role, name)
            if other != name:
                raise self._wrong(f"has two arrays of {role}, {other!r} and {name!r}: keep one")
        plain, tagged = found.get("", {}), found.get("test", {})
        for role in plain.keys() & tagged.keys():
            raise self._wrong(
                f"has two arrays of test {role}, {plain[role]!r} and {tagged[role]!r}: keep one"
            )
        test = {**plain, **tagged} or found.get("val", {})
        pairs: dict[Split, tuple[str, str]] = {"test": self._pair(test, "", arrays)}
        if "train" in found:
            pairs["train"] = self._pair(found["train"], "train_", arrays)
        return pairs

    def _pair(
        self, found: Mapping[str, str], prefix: str, arrays: Mapping[str, Array]
    ) -> tuple[str, str]:
        missing = [role for role in ("images", "labels") if role not in found]
        if missing:
            raise self._wrong(
                f"has no array {f'{prefix}{missing[0]}'!r}; it holds {', '.join(sorted(arrays)) or 'nothing'}: "
                f"save {FORM}"
            )
        return found["images"], found["labels"]

    def _split(
        self, arrays: Mapping[str, Array], names: tuple[str, str], options: Mapping[str, Array]
    ) -> tuple[tuple[Tensor, Tensor], int | None]:
        images, labels = names
        made, classes = to_labels(arrays[labels], self._what(labels))
        white = options.get("white")
        if white is not None and (white.size != 1 or white.dtype.kind not in "iuf"):
            raise self._wrong(f"needs one number in white; got {white.dtype} of {white.shape}")
        pixels = to_images(
            arrays[images],
            n=len(made),
            what=self._what(images),
            layout=str(options.get("layout", "")),
            white=None if white is None else float(white.item()),
        )
        return (pixels, made), classes

    def _classes(self, options: Mapping[str, Array], said: list[int]) -> int | None:
        """The number that the file says; None where only labels do."""
        given = options.get("classes")
        if given is not None and (given.size != 1 or given.dtype.kind not in "iu"):
            raise self._wrong(f"needs one integer in classes; got {given.dtype} of {given.shape}")
        says = {f"one-hot rows of {width}": width for width in said}
        if given is not None:
            says[f"classes={given.item()}"] = int(given.item())
        if "class_names" in options:
            says[f"{options['class_names'].size} class_names"] = options["class_names"].size
        if len(set(says.values())) > 1:
            raise self._wrong(f"contradicts itself on the number of classes: {', '.join(says)}")
        return next(iter(says.values()), None)


def _split_and_role(name: str) -> tuple[str, str]:
    """The split, empty where the name has none, and `images`, `labels` or nothing."""
    low = name.lower()
    split = ""
    for word, kind in _SPLITS.items():
        rest = re.sub(rf"^{word}_?|_?{word}$", "", low, count=1)
        if rest != low and rest in (*_IMAGES, *_LABELS):
            low, split = rest, kind
            break
    return split, "images" if low in _IMAGES else "labels" if low in _LABELS else ""
