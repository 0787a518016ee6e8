"""Tiny ImageNet: 200 classes of ImageNet at 64 x 64 pixels, in folders."""

from __future__ import annotations

from pathlib import Path

from benchmark.datasets.archives import Archive, unpacked_folder
from benchmark.datasets.folder import (
    FolderDataset,
    Listing,
    image_names,
    list_by_class,
    sorted_listing,
)
from benchmark.engine.dataset import Split
from benchmark.errors import BenchError

ARCHIVE = Archive(
    urls=("http://cs231n.stanford.edu/tiny-imagenet-200.zip",),
    place=Path("tiny-imagenet-200.zip"),
    md5="90528d7ca1a48142e341f4ef8d21d0de",
)
ANNOTATIONS = "val_annotations.txt"


class TinyImageNet(FolderDataset):
    """Photographs of 64 x 64 pixels (Le and Yang, CS231N, Stanford 2015): 100,000 and 10,000 images.

    The test split is its `val`, the last that has labels: either flat with `val_annotations.txt`, as it is
    published, or sorted into one folder a class, as many keep it. Labels are places among the sorted WordNet
    ids of `wnids.txt`, as torchvision's `ImageFolder` gives them. The threat is RobustBench's for ImageNet;
    AID-Purifier (Hwang et al. 2021) takes linf:8/255.
    """

    name = "tiny_imagenet"
    shape = (3, 64, 64)
    classes = 200
    threat = "linf:4/255"
    model = ""
    hint = (
        f"expected wnids.txt, train/<wnid>/images/*.JPEG, val/images/*.JPEG and val/{ANNOTATIONS}"
    )

    def list_images(self, split: Split) -> Listing:
        """The images in the folders of the classes, or those that the annotations name."""
        place = unpacked_folder(ARCHIVE, self.folder)
        labels = self._labels(place)
        if split == "train":
            return list_by_class(place / "train", labels)
        sorted_by_users = list_by_class(place / "val", labels)
        return sorted_by_users if sorted_by_users.paths else self._annotated(place / "val", labels)

    def _labels(self, place: Path) -> dict[str, int]:
        wnids = sorted(set(_lines(place / "wnids.txt", self.hint)))
        if len(wnids) != self.classes:
            raise BenchError(
                f"expected {self.classes} WordNet ids in {str(place / 'wnids.txt')!r}; got {len(wnids)}; "
                f"put tiny_imagenet's own file there"
            )
        return {wnid: label for label, wnid in enumerate(wnids)}

    def _annotated(self, val: Path, labels: dict[str, int]) -> Listing:
        rows = [line.split("\t") for line in _lines(val / ANNOTATIONS, self.hint)]
        wnids = {row[0]: row[1] for row in rows if len(row) > 1}
        found = []
        for name in image_names(val / "images"):
            if wnids.get(name) not in labels:
                raise BenchError(
                    f"{str(val / ANNOTATIONS)!r} gives {name!r} no class of wnids.txt; put "
                    f"tiny_imagenet's own file there"
                )
            found.append((labels[wnids[name]], f"images/{name}"))
        return sorted_listing(val, found)


def _lines(path: Path, hint: str) -> list[str]:
    """The lines of a text file that hold something."""
    try:
        return [line for line in path.read_text(encoding="ascii").splitlines() if line.strip()]
    except FileNotFoundError as error:
        raise BenchError(f"{str(path)!r} is missing; {hint}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise BenchError(f"{str(path)!r} cannot be read; {hint}") from error
