"""The ground truth of ImageNet's flat validation images: the development kit's, or Kaggle's."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

from scipy.io import loadmat
from scipy.io.matlab import MatReadError

from benchmark.errors import BenchError

KAGGLE = "LOC_val_solution.csv"
DEVKIT = "ILSVRC2012_devkit_t12/data"
META = "meta.mat"
TRUTH = "ILSVRC2012_validation_ground_truth.txt"


def read_ground_truth(base: Path) -> dict[str, str]:
    """The WordNet id of each validation image by its name without ending (`ILSVRC2012_val_00000001`).

    Args:
        base: The folder with `LOC_val_solution.csv` (as Kaggle publishes it) or with
            `ILSVRC2012_devkit_t12/data` (`meta.mat` and `ILSVRC2012_validation_ground_truth.txt`).

    Raises:
        BenchError: Neither is there, or it cannot be read.
    """
    if (base / KAGGLE).is_file():
        return _read(base / KAGGLE, _from_kaggle)
    if (base / DEVKIT / META).is_file() and (base / DEVKIT / TRUTH).is_file():
        return _read(base / DEVKIT, _from_devkit)
    raise BenchError(
        f"the images of imagenet are not sorted into folders, and {str(base)!r} says nothing of their "
        f"classes; put {KAGGLE} there, or {DEVKIT}/{META} and {DEVKIT}/{TRUTH} of the development kit"
    )


def _read(path: Path, reader: Callable[[Path], dict[str, str]]) -> dict[str, str]:
    try:
        return reader(path)
    except (
        OSError, ValueError, KeyError, IndexError, TypeError, csv.Error, MatReadError, NotImplementedError,
    ) as error:  # fmt: skip
        raise BenchError(
            f"the ground truth of imagenet at {str(path)!r} is damaged or of another form; get it again"
        ) from error


def _from_kaggle(path: Path) -> dict[str, str]:
    with path.open(encoding="ascii", newline="") as file:
        rows = csv.DictReader(file)
        return {row["ImageId"]: row["PredictionString"].split()[0] for row in rows}


def _from_devkit(folder: Path) -> dict[str, str]:
    synsets = loadmat(folder / META, squeeze_me=True)["synsets"]
    numbers = synsets["ILSVRC2012_ID"].tolist()
    wnids = dict(zip(map(int, numbers), map(str, synsets["WNID"].tolist()), strict=True))
    lines = (folder / TRUTH).read_text(encoding="ascii").split()
    return {
        f"ILSVRC2012_val_{place:08d}": wnids[int(number)]
        for place, number in enumerate(lines, start=1)
    }
