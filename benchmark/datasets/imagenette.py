"""Imagenette: ten easily told classes of ImageNet, in folders."""

from __future__ import annotations

from pathlib import Path

from benchmark.datasets.archives import Archive, unpacked_folder
from benchmark.datasets.folder import FolderDataset, Listing, list_by_class
from benchmark.engine.dataset import Split

WNIDS = (
    "n01440764",
    "n02102040",
    "n02979186",
    "n03000684",
    "n03028079",
    "n03394916",
    "n03417042",
    "n03425413",
    "n03445777",
    "n03888257",
)
"""WordNet ids of its classes; a class's label is its place here."""
ARCHIVE = Archive(
    urls=("https://s3.amazonaws.com/fast-ai-imageclas/imagenette2-320.tgz",),
    place=Path("imagenette2-320.tgz"),
    md5="3df6f0d01a2c9592104656642f5e78a3",
)
_FOLDERS: dict[Split, str] = {"train": "train", "test": "val"}


class Imagenette(FolderDataset):
    """Photographs whose shorter side is 320 pixels (Howard, 2019; second version): 9,469 and 3,925 images.

    The test split is its `val`. Images are made 224 x 224 as RobustBench makes ImageNet's by default. The
    threat is RobustBench's for ImageNet; AToP (Lin et al. 2024, table 9) takes linf:8/255.
    """

    name = "imagenette"
    shape = (3, 224, 224)
    classes = len(WNIDS)
    threat = "linf:4/255"
    model = ""
    preparation = "Res256Crop224"
    hint = "expected train/<wnid>/*.JPEG and val/<wnid>/*.JPEG, as in imagenette2-320.tgz"

    def list_images(self, split: Split) -> Listing:
        """The images in the folders of the ten classes."""
        root = unpacked_folder(ARCHIVE, self.folder) / _FOLDERS[split]
        return list_by_class(root, {wnid: label for label, wnid in enumerate(WNIDS)})
