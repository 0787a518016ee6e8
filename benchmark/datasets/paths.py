"""Files and folders that `npz:FILE` and `folder:PATH` name; they are looked for without importing torch."""

from __future__ import annotations

from pathlib import Path

from benchmark.errors import BenchError


def npz_file(text: str | Path) -> Path:
    """The file of `npz:FILE`, `~` being the user's own folder.

    Raises:
        BenchError: There is none.
    """
    path = Path(text).expanduser()
    if not path.is_file():
        raise BenchError(
            f"npz dataset {str(path)!r} does not exist; give npz:FILE with an existing file"
        )
    return path


def class_folder(place: str) -> tuple[Path, str]:
    """The folder of `folder:PATH`, and the preparation behind it; empty where there is none.

    A path may have an `@` of its own where it is a folder's.

    Raises:
        BenchError: There is no such folder.
    """
    path, at, preparation = place.rpartition("@")
    if not at or Path(place).expanduser().is_dir():
        path, preparation = place, ""
    root = Path(path).expanduser()
    if not root.is_dir():
        raise BenchError(f"dataset folder:{place}: there is no folder {str(root)!r}")
    return root, preparation


def refuse_missing_place(dataset: str) -> None:
    """Refuses `npz:FILE` and `folder:PATH` where there is nothing; says nothing of other datasets.

    Raises:
        BenchError: There is no such file or folder.
    """
    kind, _, place = dataset.partition(":")
    if kind == "npz":
        npz_file(place)
    elif kind == "folder":
        class_folder(place)
