"""Sheets on disk: PNGs of one plain kind, written before the entry that names them, and checked against it."""

from __future__ import annotations

import hashlib
import itertools
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

from benchmark.errors import BenchError
from benchmark.files import write_whole
from benchmark.publishing.entry import Entry
from benchmark.publishing.entry_files import write_entry
from benchmark.publishing.examples import Examples

SIGNATURE = b"\x89PNG\r\n\x1a\n"
COLOURS = {1: 4, 3: 6}
"""A PNG's colour type by the channels of an image: grey or red, green, blue, each with transparency."""
LARGEST = 2_000_000
"""Bytes of a sheet's file."""
LARGEST_RAW = 16_000_000
"""Bytes of its pixels."""
MEND = "run the entry's command again"


def sheet_path(entry: Path) -> Path:
    """Where the sheet of an entry's file lies."""
    return entry.with_suffix(".png")


def write_shown(entry: Entry, sheet: bytes | None, path: Path) -> None:
    """Writes an entry and its sheet, the sheet first: an entry never names a sheet that is not there.

    Killed in between, it leaves the old entry beside the new sheet; `bench validate` says so, and the same
    command mends it.

    Raises:
        BenchError: A file cannot be written.
    """
    beside = sheet_path(path)
    if sheet is not None and entry.examples is not None:
        write_whole(beside, sheet)
        write_entry(entry, path)
        return
    write_entry(entry, path)
    if beside.is_file():  # an earlier run's, which nothing names any more
        try:
            beside.unlink(missing_ok=True)
        except OSError as error:
            raise BenchError(f"cannot remove {beside}: {error.strerror or error}") from error


def read_sheet(path: Path, entry: Entry) -> bytes | None:
    """The sheet of an entry; None where it has none.

    Args:
        path: The entry's own file.
        entry: What it holds.

    Raises:
        BenchError: The sheet is missing, cannot be read, or is not the one that the entry names.
    """
    if entry.examples is None:
        return None
    beside = sheet_path(path)
    try:
        if not beside.is_file():  # nor a pipe that never ends
            raise BenchError(f"{beside} is missing, which the entry shows; {MEND}")
        with beside.open("rb") as file:
            content = file.read(LARGEST + 1)
    except OSError as error:
        raise BenchError(f"cannot read {beside}: {error.strerror or error}") from error
    wrong = wrong_in(content, entry.examples, channels=entry.threat.input_shape[0])
    if wrong:
        raise BenchError(f"{beside} is not the sheet of its entry: {wrong}; {MEND}")
    return content


def wrong_in(content: bytes, examples: Examples, *, channels: int) -> str:
    """Why a file is not the sheet that an entry names; empty where it is.

    Nothing of it is decoded by an image library: it must be what `bench run` writes, chunk by chunk.
    """
    if len(content) > LARGEST:
        return f"it has more than {LARGEST} bytes"
    if hashlib.sha256(content).hexdigest() != examples.sha256:
        return "its sha256 is another"
    if channels not in COLOURS:
        return f"images have {channels} channels, and a sheet shows 1 or 3"
    width, height = examples.size
    row = 1 + width * (channels + 1)
    if height * row > LARGEST_RAW:
        return f"{width} x {height} pixels are too many"
    chunks = list(itertools.islice(_chunks(content), LARGEST // 12))
    names = [name for name, _ in chunks]
    if names[:1] != [b"IHDR"] or names[-1:] != [b"IEND"] or set(names[1:-1]) != {b"IDAT"}:
        return "it is no PNG as bench run writes them"
    if chunks[0][1] != header(width, height, channels) or chunks[-1][1]:
        return f"it has not the size of {width} x {height} pixels, or another kind of colours"
    pixels = _inflated(b"".join(data for _, data in chunks[1:-1]), height * row)
    if pixels is None or max(pixels[::row]) > 4:
        return "its pixels cannot be read"
    return ""


def header(width: int, height: int, channels: int) -> bytes:
    """What the first chunk of a sheet holds: eight bits a value, not interlaced."""
    return struct.pack(">IIBBBBB", width, height, 8, COLOURS[channels], 0, 0, 0)


def png(chunks: dict[bytes, bytes]) -> bytes:
    """A PNG of these chunks."""
    made = [
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks.items()
    ]
    return SIGNATURE + b"".join(made)


def _chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The chunks of a PNG up to the first that is damaged; none where it is none."""
    at = len(SIGNATURE)
    if not content.startswith(SIGNATURE):
        return
    while at < len(content):
        length = int.from_bytes(content[at : at + 4], "big")
        name, data = content[at + 4 : at + 8], content[at + 8 : at + 8 + length]
        at += 12 + length
        if at > len(content) or zlib.crc32(name + data) != int.from_bytes(
            content[at - 4 : at], "big"
        ):
            yield b"", b""
            return
        yield name, data


def _inflated(data: bytes, expected: int) -> bytes | None:
    """The unpacked bytes, where they are just so many; never more of them are made."""
    unpacking = zlib.decompressobj()
    try:
        found = unpacking.decompress(data, expected + 1)
    except zlib.error:
        return None
    is_whole = unpacking.eof and not unpacking.unused_data and len(found) == expected
    return found if is_whole else None
