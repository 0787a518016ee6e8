"""Files written whole or not at all: a temporary file in the same folder, fsync, rename."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from benchmark.errors import BenchError


def write_whole(path: Path, content: bytes) -> None:
    """Writes a file so that a reader, or a process started after a crash, finds all of it or the old one.

    Raises:
        BenchError: The folder cannot be made or written, or the disk is full; nothing half-written is left.
    """
    part: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(
            dir=path.parent, prefix=f".{path.name[:40]}.", suffix=".part"
        )
        part = Path(name)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.chmod(0o644)
        os.replace(part, path)  # noqa: PTH105 (a test plants a kill exactly here)
        _sync_folder(path.parent)
    except OSError as error:
        raise BenchError(
            f"cannot write {path}: {error.strerror or error}; choose a folder that can be written, "
            f"with room on its disk"
        ) from error
    finally:
        if part is not None:
            part.unlink(missing_ok=True)


def refuse_unwritable(folder: Path) -> None:
    """Finds out before long work whether a folder can be made and written; leaves nothing in it.

    Raises:
        BenchError: It cannot.
    """
    probe = folder / ".written-by-purifybench"
    made = [parent for parent in (folder, *folder.parents) if not parent.exists()]
    write_whole(probe, b"")
    probe.unlink()
    for parent in made:
        parent.rmdir()


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
