"""Archives unpacked within limits, into one folder: no bombs, no links, no devices, no paths to elsewhere."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import IO, Any

from benchmark.errors import BenchError
from benchmark.files.expansion import Expansion
from benchmark.files.limits import DATASET

_PIECE = 1 << 20
_LONGEST_READ = 1 << 26
"""Bytes at once; only a header made to fill memory asks for more."""
_WRONG = (
    tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, RuntimeError,
    ValueError, LookupError,
)  # fmt: skip
_PACKERS: dict[str, tuple[bytes, Callable[..., Any]]] = {
    ".gz": (b"\x1f\x8b", gzip.open),
    ".bz2": (b"BZh", bz2.open),
    ".xz": (b"\xfd7zXZ", lzma.open),
}


def unpack(file: Path, aside: Path) -> None:
    """Unpacks a tar or zip archive, one file under gzip, bzip2 or xz, or a file as it is, into a folder aside.

    The folder is made where it is missing.

    Raises:
        BenchError: It is damaged, holds what is no file or folder inside, or expands too far.
        OSError: The folder cannot be written.
    """
    aside.mkdir(parents=True, exist_ok=True)
    expansion = Expansion(file, DATASET)
    try:
        with file.open("rb") as opened:
            _unpack(opened, file, aside, expansion)
    except _WRONG as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk's fault, not the archive's
        raise BenchError(f"{str(file)!r} cannot be unpacked ({error}); delete it") from error


def _unpack(opened: IO[bytes], file: Path, aside: Path, expansion: Expansion) -> None:
    head = opened.read(6)
    opened.seek(0)
    if head.startswith((b"PK\3\4", b"PK\5\6")):
        with zipfile.ZipFile(opened) as archive:
            for info in archive.infolist():
                _unzip(archive, info, aside, expansion)
        return
    packers = [(end, make) for end, (magic, make) in _PACKERS.items() if head.startswith(magic)]
    plain = _Counted(packers[0][1](opened) if packers else opened, expansion)
    if _is_tar(plain):
        with tarfile.open(fileobj=plain, mode="r:") as tar:
            for member in tar:
                _untar(tar, member, aside, expansion)
    elif packers and file.suffix == packers[0][0]:
        _write(plain, aside / file.stem)
    else:
        _write(opened, aside / file.name)


class _Counted(io.RawIOBase):
    """What comes out of a file when it is read, counted however far a reader jumps."""

    def __init__(self, inner: IO[bytes], expansion: Expansion) -> None:
        self._inner = inner
        self._expansion = expansion
        self._furthest = 0

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _LONGEST_READ:
            raise tarfile.ReadError("its header asks for more memory than a header needs")
        found = self._inner.read(size)
        self._count(self._inner.tell())
        return found

    def seek(self, place: int, whence: int = 0) -> int:
        if whence == 0:
            self._count(place)  # before anything is unpacked on the way
        return self._inner.seek(place, whence)

    def tell(self) -> int:
        return self._inner.tell()

    def _count(self, place: int) -> None:
        if place > self._furthest:
            self._expansion.bytes(place - self._furthest)
            self._furthest = place


def _is_tar(plain: _Counted) -> bool:
    head = plain.read(tarfile.BLOCKSIZE)
    plain.seek(0)
    try:
        tarfile.TarInfo.frombuf(head, "utf-8", "surrogateescape")
    except tarfile.TarError:
        return False
    return True


def _untar(
    tar: tarfile.TarFile, member: tarfile.TarInfo, aside: Path, expansion: Expansion
) -> None:
    expansion.member(0)  # its bytes are counted as they come
    if member.issparse() or not (member.isreg() or member.isdir()):
        raise tarfile.ReadError(
            f"{member.name!r} is no file or folder but a link, a device or such"
        )
    tar.extract(member, aside, filter="data")  # which refuses paths that lead out


def _unzip(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo, aside: Path, expansion: Expansion
) -> None:
    expansion.member(info.file_size)  # no more of it is ever unpacked
    path = PurePosixPath(info.filename.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise zipfile.BadZipFile(f"{info.filename!r} leads out of the folder")
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise zipfile.BadZipFile(f"{info.filename!r} is no file or folder but a link or such")
    place = aside / path
    if info.is_dir():
        place.mkdir(parents=True, exist_ok=True)
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    with archive.open(info) as packed:
        _write(packed, place)


def _write(source: IO[bytes] | _Counted, place: Path) -> None:
    with place.open("wb") as target:
        shutil.copyfileobj(source, target, _PIECE)
        target.flush()
        os.fsync(target.fileno())
