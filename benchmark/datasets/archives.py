"""Archives in which datasets are published: downloaded whole, compared with their MD5, unpacked aside."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmark.datasets.unpacking import unpack
from benchmark.errors import BenchError
from benchmark.files.downloads import alone, fetch, is_offline
from benchmark.files.limits import DATASET
from benchmark.files.temporary import part_folder


@dataclass(frozen=True, slots=True)
class Archive:
    """One archive of a dataset, or one file that is published as it is.

    Args:
        urls: Where it is published, the first tried first.
        place: Its path in the data folder; who has it by other means puts it there.
        md5: What its publisher says it has, hex.
    """

    urls: tuple[str, ...]
    place: Path
    md5: str


def archives_of(source: Any, subfolder: str, *, train: bool) -> list[Archive]:
    """The archives that a class of torchvision names, where torchvision keeps them.

    Args:
        source: A class with `mirrors` and `resources` (MNIST's kind), `split_list` (SVHN's), or `url`,
            `filename` and `tgz_md5` (CIFAR's).
        subfolder: Of the data folder, in which the unpacked files lie.
        train: Which split is wanted, where splits are files of their own.
    """
    if hasattr(source, "split_list"):
        url, name, md5 = source.split_list["train" if train else "test"]
        return [Archive((url,), Path(subfolder, name), md5)]
    if hasattr(source, "resources"):
        return [
            Archive(tuple(mirror + name for mirror in source.mirrors), Path(subfolder, name), md5)
            for name, md5 in source.resources
        ]
    return [Archive((source.url,), Path(source.filename), source.tgz_md5)]


def unpacked(archives: Sequence[Archive], folder: Path, aside: Path) -> None:
    """Downloads the archives that are absent, and unpacks all into `aside`; those downloaded are deleted.

    Raises:
        BenchError: One cannot be had, or is not the published one.
    """
    for archive in archives:
        file = folder / archive.place
        was_there = file.is_file()
        if was_there:
            _refuse_other(file, archive.md5)
        else:
            _fetch(archive, file)
        unpack(file, aside)
        if not was_there:
            file.unlink(missing_ok=True)


def unpacked_folder(archive: Archive, name: str, folder: Path) -> Path:
    """The folder that an archive holds, in the data folder; downloaded and unpacked where it is missing.

    It is there whole or not at all; of several processes that want it, one brings it.

    Args:
        archive: It.
        name: The one folder that it holds.
        folder: The data folder.

    Raises:
        BenchError: It cannot be had, is not the published one, or cannot be written.
    """
    place = folder / name
    if place.is_dir():
        return place
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with alone(folder / f".{name}.lock"):
            if not place.is_dir():  # else another process brought it meanwhile
                with part_folder(place) as aside:
                    unpacked([archive], folder, aside)
                    (aside / name).replace(place)
    except OSError as error:
        raise BenchError(
            f"{str(place)!r} cannot be unpacked from {archive.place} ({error.strerror or error}); choose a "
            f"folder that can be written, with room on its disk"
        ) from error
    return place


def _fetch(archive: Archive, file: Path) -> None:
    first: BenchError | None = None
    for url in archive.urls:
        try:
            accept = partial(_refuse_other, md5=archive.md5)
            return fetch(url, file, what=file.name, accept=accept, limits=DATASET)
        except BenchError as error:
            first = first or error
            if is_offline():
                break
    raise first or BenchError(f"nobody publishes {file.name}; put it into {str(file.parent)!r}")


def _refuse_other(file: Path, md5: str) -> None:
    with file.open("rb") as opened:
        found = hashlib.file_digest(opened, "md5").hexdigest()
    if found != md5:
        raise BenchError(
            f"{str(file)!r} is damaged or another archive: its MD5 is {found}, and should be {md5}; "
            f"delete it"
        )
