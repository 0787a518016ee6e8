"""Generated photographs, in the true file layouts of the datasets that consist of folders."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import scipy.io
from PIL import Image

HELPERS = Path(next(iter(find_spec("robustbench").submodule_search_locations))) / "helper_files"


def photograph(seed: int, width: int = 80, height: int = 60, mode: str = "RGB") -> Image.Image:
    """Smooth colours with some grain, another picture for every seed."""
    generator = np.random.default_rng(seed)
    coarse = Image.fromarray(generator.integers(0, 256, (5, 6, 3), dtype=np.uint8))
    pixels = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)).astype(int)
    pixels = (pixels + generator.integers(-8, 9, pixels.shape)).clip(0, 255).astype(np.uint8)
    return Image.fromarray(pixels).convert(mode)


def put(path: Path, seed: int, **form) -> Path:
    """Saves a photograph in the format of its ending."""
    path.parent.mkdir(parents=True, exist_ok=True)
    photograph(seed, **form).save(path)
    return path


def imagenet_wnids() -> list[str]:
    """The 1,000 WordNet ids in the order of their labels, as RobustBench lists them."""
    known = json.loads((HELPERS / "imagenet_class_to_id_map.json").read_text())
    return sorted(known, key=known.__getitem__)


def robustbench_list() -> list[str]:
    """`<wnid>/<file>` of RobustBench's 5,000 images, in its order."""
    return (HELPERS / "imagenet_test_image_ids.txt").read_text().split()


def put_imagenet(data: Path, names: Sequence[str], *, is_flat: bool = False, **form) -> Path:
    """ImageNet's `val` with the images `<wnid>/<file>`; one's seed is the number in its file name."""
    val = data / "imagenet" / "val"
    for name in names:
        wnid, file = name.split("/")
        put(val / file if is_flat else val / wnid / file, number(name), **form)
    return val


def put_kaggle(data: Path, names: Sequence[str], **form) -> Path:
    """The same as Kaggle's archive has it: flat, with `LOC_val_solution.csv`."""
    base = data / "imagenet"
    val = base / "ILSVRC" / "Data" / "CLS-LOC" / "val"
    for name in names:
        put(val / name.split("/")[1], number(name), **form)
    with (base / "LOC_val_solution.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["ImageId", "PredictionString"])
        for name in names:
            wnid, image = name.split("/")
            rows.writerow([image.partition(".")[0], f"{wnid} 85 1 499 272 {wnid} 3 4 5 6"])
    return val


def put_devkit(data: Path, names: Sequence[str]) -> None:
    """The development kit of ILSVRC 2012, in which the classes have numbers of their own."""
    kit = data / "imagenet" / "ILSVRC2012_devkit_t12" / "data"
    kit.mkdir(parents=True)
    numbered = sorted(imagenet_wnids(), key=lambda wnid: wnid[::-1])  # not the labels' order
    kind = [(name, object) for name in ("ILSVRC2012_ID", "WNID", "words", "num_children")]
    synsets = np.array([(i, wnid, "w", 0) for i, wnid in enumerate(numbered, 1)], dtype=kind)
    scipy.io.savemat(kit / "meta.mat", {"synsets": synsets.reshape(-1, 1)})
    truth = {number(name): numbered.index(name.split("/")[0]) + 1 for name in names}
    lines = [str(truth.get(i, 1)) for i in range(1, max(truth) + 1)]
    (kit / "ILSVRC2012_validation_ground_truth.txt").write_text("\n".join(lines) + "\n")


def number(name: str) -> int:
    """The number in `n01440764/ILSVRC2012_val_00000293.JPEG`."""
    return int(name.partition(".")[0].rpartition("_")[2])


def put_imagenette(data: Path, wnids: Sequence[str], per_class: int = 2, **form) -> Path:
    """Imagenette, so many images a class in each split."""
    place = data / "imagenette2-320"
    for label, wnid in enumerate(wnids):
        for i in range(per_class):
            for split, shift in (("train", 500), ("val", 0)):
                name = f"ILSVRC2012_val_{label:04d}{i:04d}.JPEG"
                put(place / split / wnid / name, shift + 10 * label + i, **form)
    return place


def put_tiny_imagenet(data: Path, wnids: Sequence[str], val: Mapping[str, str]) -> Path:
    """Tiny ImageNet as Stanford packs it: `val` maps a file's name to its class; one training image a class."""
    place = data / "tiny-imagenet-200"
    for seed, wnid in enumerate(wnids[:3]):
        put(place / "train" / wnid / "images" / f"{wnid}_0.JPEG", seed, width=64, height=64)
        (place / "train" / wnid / f"{wnid}_boxes.txt").write_text(f"{wnid}_0.JPEG\t0\t10\t63\t58\n")
    for seed, name in enumerate(val):
        put(place / "val" / "images" / name, seed, width=64, height=64)
    rows = [f"{name}\t{wnid}\t0\t32\t44\t62\n" for name, wnid in val.items()]
    (place / "val" / "val_annotations.txt").write_text("".join(rows))
    (place / "wnids.txt").write_text("\n".join(wnids) + "\n")
    return place


TINY = sorted(imagenet_wnids()[::5])[::-1]
"""200 WordNet ids, not in the order of their labels, as in the published `wnids.txt`."""
TINY_VAL = {"val_0.JPEG": TINY[7], "val_1.JPEG": TINY[199], "val_2.JPEG": TINY[7]}
"""Of the images of its `val`, the class."""
