"""Files beside an entry, its sheet and its kept images: written before the entry that names them."""

from __future__ import annotations

import hashlib
from pathlib import Path

from benchmark.errors import BenchError
from benchmark.files import write_whole
from benchmark.publishing.audits import KeptImages
from benchmark.publishing.entry import Entry
from benchmark.publishing.entry_files import write_entry
from benchmark.publishing.sheets import sheet_path

ADOPTED = 2_000_000
"""Bytes of kept images that go into leaderboards with their entry; larger files stay where they are."""


def kept_path(entry: Path) -> Path:
    """Where the kept images of an entry's file lie."""
    return entry.with_name(f"{entry.stem}.images.npz")


def write_shown(
    entry: Entry, sheet: bytes | None, path: Path, *, images: bytes | None = None
) -> None:
    """Writes an entry, its sheet and its kept images, the entry last: it never names what is not there.

    Killed in between, it leaves the old entry beside new files; `bench validate` says so, and the same command
    mends it. Kept images that are too large to be adopted may be missing.

    Raises:
        BenchError: A file cannot be written.
    """
    sheet = sheet if entry.examples else None
    images = images if entry.kept_images else None
    files = {sheet_path(path): sheet, kept_path(path): images}
    for beside, content in files.items():
        if content is not None:
            write_whole(beside, content)
    write_entry(entry, path)
    for beside, content in files.items():  # an earlier run's, which nothing names any more
        try:
            if content is None and beside.is_file():
                beside.unlink(missing_ok=True)
        except OSError as error:
            raise BenchError(f"cannot remove {beside}: {error.strerror or error}") from error


def read_kept(path: Path, kept: KeptImages) -> bytes:
    """The file of kept images that an entry names, packed as it is.

    Args:
        path: The file.
        kept: What the entry says of it.

    Raises:
        BenchError: It is missing, cannot be read, or is another.
    """
    try:
        if not path.is_file():  # nor a pipe that never ends
            raise BenchError(
                f"expected the kept images of the entry at {path}, {kept.bytes} bytes of sha256 "
                f"{kept.sha256[:12]}; name them with --images, or make them again with the entry's command"
            )
        with path.open("rb") as file:
            content = file.read(kept.bytes + 1)
    except OSError as error:
        raise BenchError(f"cannot read {path}: {error.strerror or error}") from error
    if len(content) != kept.bytes or hashlib.sha256(content).hexdigest() != kept.sha256:
        raise BenchError(
            f"{path} is not the file of kept images that the entry names: expected {kept.bytes} bytes of "
            f"sha256 {kept.sha256[:12]}, got others; look for that one, or run the entry's command again"
        )
    return content


def adoptable(path: Path, entry: Entry) -> bytes | None:
    """The kept images of an entry's file that go with it; None where there are none, or they are too large.

    Raises:
        BenchError: The file beside the entry is another.
    """
    kept = entry.kept_images
    if kept is None or kept.bytes > ADOPTED or not kept_path(path).exists():
        return None
    return read_kept(kept_path(path), kept)
