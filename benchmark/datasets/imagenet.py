"""ImageNet: the 1,000 classes of ILSVRC 2012, in whichever of its layouts they are kept."""

from __future__ import annotations

import json
import logging
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor

from benchmark.datasets.folder import (
    FolderDataset,
    Listing,
    image_names,
    list_by_class,
    sorted_listing,
)
from benchmark.datasets.ground_truth import read_ground_truth
from benchmark.engine.dataset import Split
from benchmark.errors import BenchError

log = logging.getLogger(__name__)

KAGGLE = Path("ILSVRC/Data/CLS-LOC")
"""Where Kaggle's archive keeps the images of both splits."""
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
        labels, chosen = wnid_labels(), []
        lines = _helper("imagenet_test_image_ids.txt").split()
        for line in lines:
            index = places.get(_stem(line))
            if index is None:
                break
            wnid = line.partition("/")[0]
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
        folders = [path.name for path in place.iterdir() if path.is_dir()] if place.is_dir() else []
        strangers = [
            name for name in sorted(folders) if name not in labels and not name.startswith(".")
        ]
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
