"""Files written whole or not at all: a temporary file in the same folder, fsync, rename."""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path

from benchmark.errors import BenchError
from benchmark.files.temporary import clear_once, hold, part_of

_TRIES = 10
"""How often a folder is made that another run, which had just made and tried it, takes away again."""
_NO_SYNC = frozenset({errno.EINVAL, errno.ENOTSUP, errno.EBADF})
"""What a file system says that cannot sync a folder; the file in it is synced all the same."""


def write_whole(path: Path, content: bytes) -> None:
    """Writes a file so that a reader, or a process started after a crash, finds all of it or the old one.

    Raises:
        BenchError: The folder cannot be made or written, or the disk is full; nothing half-written is left.
    """
    part = part_of(path)
    try:
        with os.fdopen(_create(part), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            os.replace(part, path)  # noqa: PTH105 (a test plants a kill exactly here; its lock still held)
        _sync_folder(path.parent)
    except OSError as error:
        raise BenchError(
            f"cannot write {path}: {error.strerror or error}; choose a folder that can be written, "
            f"with room on its disk"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


def refuse_unwritable(folder: Path) -> None:
    """Finds out before long work whether a folder can be made and written; leaves nothing in it.

    Raises:
        BenchError: It cannot.
    """
    probe = part_of(folder / "probe")
    made = [parent for parent in (folder, *folder.parents) if not parent.exists()]
    write_whole(probe, b"")
    probe.unlink(missing_ok=True)
    for parent in made:
        with contextlib.suppress(OSError):  # another run has put something into it
            parent.rmdir()


def _create(path: Path) -> int:
    """An open and locked handle on a new file, whose folder is made where need be."""
    clear_once(path.parent.absolute())
    for _ in range(_TRIES - 1):
        with contextlib.suppress(FileNotFoundError, FileExistsError):  # the latter of a folder
            return _create_once(path)
    return _create_once(path)


def _create_once(path: Path) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0)
    handle = os.open(path, flags, 0o666)
    if not hold(handle, path):
        os.close(handle)
        raise FileNotFoundError(errno.ENOENT, "another process took it away", str(path))
    return handle


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise
    finally:
        os.close(handle)
