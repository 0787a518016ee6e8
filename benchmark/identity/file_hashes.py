"""Files and folders by their content, wherever they lie."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from benchmark.identity.source import stamp_of

LARGE_BYTES = 8 * 2**30
"""A folder of more than so many bytes, such as a whole dataset, would take minutes to read."""


def content_sha256(path: Path) -> str:
    """sha256 of a file's bytes, or of all files below a folder with their places in it, hex.

    Files of a folder that is very large are known by their sizes and times.
    """
    if path.is_dir():
        digest, files = hashlib.sha256(), _files(path)
        is_large = sum(file.stat().st_size for file in files) > LARGE_BYTES
        for file in files:
            said = str(stamp_of(file)) if is_large else content_sha256(file)
            digest.update(f"{file.relative_to(path).as_posix()}\0{said}\0".encode())
        return digest.hexdigest()
    stat = path.stat()
    return _sha256(path.absolute(), stat.st_mtime_ns, stat.st_size, stat.st_ino)


def _files(folder: Path) -> list[Path]:
    """The regular files below a folder, but for what Python keeps there for itself."""
    found = [
        Path(place, name)
        for place, _, names in os.walk(folder)
        if "__pycache__" not in Path(place).parts
        for name in names
    ]
    return sorted(file for file in found if file.is_file())


@lru_cache(maxsize=100_000)
def _sha256(file: Path, changed: int, size: int, node: int) -> str:
    del changed, size, node
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def named_among(values: Iterable[object], depth: int = 8) -> Iterator[Path]:
    """The files and folders that arguments name, in lists and mappings too, so many of them deep."""
    for value in values if depth else ():
        match value:
            case str() | os.PathLike():
                with suppress(OSError, RuntimeError, TypeError, ValueError):  # no path at all
                    path = Path(os.fspath(value)).expanduser()
                    if str(value) and path.exists():
                        yield path
            case Mapping():
                yield from named_among(value.values(), depth - 1)
            case list() | tuple() | set() | frozenset():
                yield from named_among(value, depth - 1)
