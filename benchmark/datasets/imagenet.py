"""ImageNet: the 1,000 classes of ILSVRC 2012, in whichever of its layouts they are kept."""

from __future__ import annotations

import csv
import json
import logging
from collections.abc import Callable
from functools import lru_cache
from importlib.util import find_spec
from itertools import takewhile
from pathlib import Path

import torch
from scipy.io import loadmat
from scipy.io.matlab import MatReadError
from torch import Tensor

from benchmark.datasets.folder import (
    FolderDataset,
    Listing,
    folder_names,
    image_names,
    list_by_class,
    sorted_listing,
)
from benchmark.engine.dataset import Split
from benchmark.errors import BenchError

log = logging.getLogger(__name__)

KAGGLE = Path("ILSVRC/Data/CLS-LOC")
"""Where Kaggle's archive keeps the images of both splits."""
KAGGLE_TRUTH = "LOC_val_solution.csv"
DEVKIT = "ILSVRC2012_devkit_t12/data"
META = "meta.mat"
TRUTH = "ILSVRC2012_validation_ground_truth.txt"
_FOLDERS: dict[Split, str] = {"train": "train", "test": "val"}


class ImageNet(FolderDataset):
    """Photographs of ILSVRC 2012 (Russakovsky et al., IJCV 2015): 1,281,167 and 50,000 images.

    The test split is its `val`, under `imagenet/val` of the data folder: one folder a class, named by its
    WordNet id, as torchvision and RobustBench keep it; or flat, with the ground truth beside it (the
    development kit's, or Kaggle's `LOC_val_solution.csv`; Kaggle's own folders are found too). A class's label
    is the place of its WordNet id among the sorted 1,000, as in RobustBench, also where some are missing; an
    image's index is its place in the order of label and file name, whatever the layout. It cannot be
    downloaded: its licence wants each user's own consent. The threat is RobustBench's, and so is
    the default classifier, naturally trained.
    """

    name = "imagenet"
    shape = (3, 224, 224)
    classes = 1000
    threat = "linf:4/255"
    model = "Standard_R50"
    preparation = "Res256Crop224"
    hint = (
        "ImageNet cannot be downloaded without its licence: get ILSVRC2012_img_val.tar at "
        "https://image-net.org and put its images into imagenet/val/<wnid>/*.JPEG of the data folder (--data)"
    )

    def list_images(self, split: Split) -> Listing:
        """The images in the folders of the classes, or those that the ground truth names."""
        base = self.folder / "imagenet"
        places = [base / _FOLDERS[split], base / KAGGLE / _FOLDERS[split]]
        place = next((place for place in places if place.is_dir()), places[0])
        labels = wnid_labels()
        self._refuse_strangers(place, labels)
        listing = list_by_class(place, labels)
        flat = [] if listing.paths or split == "train" else image_names(place)
        if not flat:
            return listing
        truth = read_ground_truth(base)
        found = []
        for name in flat:
            wnid = truth.get(_stem(name))
            if wnid not in labels:
                raise BenchError(
                    f"the ground truth in {str(base)!r} gives {name!r} of {str(place)!r} no class; put the "
                    f"ground truth of ILSVRC 2012 there, or sort the images into folders named by WordNet id"
                )
            found.append((labels[wnid], name))
        return sorted_listing(place, found)

    def listed(self, split: Split = "test") -> Tensor:
        """Indices of RobustBench's 5,000 test images in its order, as far as none is missing.

        Raises:
            BenchError: The first one is missing, or the ground truth contradicts RobustBench's.
        """
        if split != "test":
            raise BenchError("RobustBench lists images of imagenet's test split, of no other")
        listing = self.listing(split)
        places = {_stem(path): index for index, path in enumerate(listing.paths)}
        labels = wnid_labels()
        lines = _helper("imagenet_test_image_ids.txt").split()
        present = takewhile(lambda line: _stem(line) in places, lines)
        chosen = []
        for line in present:
            index, wnid = places[_stem(line)], line.partition("/")[0]
            if int(listing.labels[index]) != labels[wnid]:
                raise BenchError(
                    f"RobustBench says that {listing.paths[index]!r} in {str(listing.root)!r} is of class "
                    f"{wnid}; the folder or ground truth there says another: mend it"
                )
            chosen.append(index)
        if not chosen:
            raise BenchError(
                f"RobustBench's first image {lines[0]} is not in {str(listing.root)!r}"
            )
        if len(chosen) < len(lines):
            cut = "imagenet: RobustBench's list is cut after %d images: %s is not in %s"
            log.warning(cut, len(chosen), lines[len(chosen)], listing.root)
        return torch.tensor(chosen)

    def _refuse_strangers(self, place: Path, labels: dict[str, int]) -> None:
        strangers = [name for name in sorted(folder_names(place)) if name not in labels]
        if strangers:
            raise BenchError(
                f"the folder {str(place / strangers[0])!r} is none of ImageNet's 1,000 classes; its folders "
                f"are named by WordNet id, such as n01440764: move it away"
            )


@lru_cache(maxsize=1)
def wnid_labels() -> dict[str, int]:
    """The label of each of the 1,000 WordNet ids, as RobustBench has them.

    Raises:
        BenchError: RobustBench's file is missing or damaged.
    """
    try:
        labels: dict[str, int] = json.loads(_helper("imagenet_class_to_id_map.json"))
    except ValueError as error:
        raise BenchError(
            "RobustBench's list of ImageNet's classes is damaged; install it again"
        ) from error
    return labels


def _helper(name: str) -> str:
    """A file that RobustBench is installed with; it is not imported."""
    spec = find_spec("robustbench")
    for place in (spec and spec.submodule_search_locations) or ():
        path = Path(place) / "helper_files" / name
        if path.is_file():
            return path.read_text(encoding="ascii")
    raise BenchError(f"RobustBench's file {name} is missing; install robustbench 1.1.1 again")


def _stem(path: str) -> str:
    return path.rpartition("/")[2].partition(".")[0]


def read_ground_truth(base: Path) -> dict[str, str]:
    """The WordNet id of each validation image by its name without ending (`ILSVRC2012_val_00000001`).

    Args:
        base: The folder with `LOC_val_solution.csv` (as Kaggle publishes it) or with
            `ILSVRC2012_devkit_t12/data` (`meta.mat` and `ILSVRC2012_validation_ground_truth.txt`).

    Raises:
        BenchError: Neither is there, or it cannot be read.
    """
    if (base / KAGGLE_TRUTH).is_file():
        return _read(base / KAGGLE_TRUTH, _from_kaggle)
    if (base / DEVKIT / META).is_file() and (base / DEVKIT / TRUTH).is_file():
        return _read(base / DEVKIT, _from_devkit)
    raise BenchError(
        f"the images of imagenet are not sorted into folders, and {str(base)!r} says nothing of their "
        f"classes; put {KAGGLE_TRUTH} there, or {DEVKIT}/{META} and {DEVKIT}/{TRUTH} of the development kit"
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
