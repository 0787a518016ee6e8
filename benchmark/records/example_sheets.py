"""Sheets on disk: PNGs of one plain kind, checked against the entry that names them."""

from __future__ import annotations

import hashlib
import io
import struct
from pathlib import Path

from PIL import Image

from benchmark.errors import BenchError
from benchmark.records.entry import Entry
from benchmark.records.examples import Examples

HEAD = b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR"
"""How a PNG begins (specification, sections 5.2 and 11.2.1); its width and height come next."""
MODES = {1: "LA", 3: "RGBA"}
"""Pillow's name for the colours of an image by its channels: grey or red, green, blue, with transparency."""
LARGEST = 2_000_000
"""Bytes of a sheet's file."""
LARGEST_RAW = 16_000_000
"""Bytes of its pixels."""
MEND = "run the entry's command again"


def sheet_path(entry: Path) -> Path:
    """Where the sheet of an entry's file lies."""
    return entry.with_suffix(".png")


def read_sheet(path: Path, entry: Entry) -> bytes | None:
    """The sheet beside an entry's file, packed anew: its pixels, whatever else it held; None where it has none.

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
    try:
        image = _pixels(content, entry.examples, channels=entry.threat.input_shape[0])
    except ValueError as wrong:
        raise BenchError(f"{beside} is not the sheet of its entry: {wrong}; {MEND}") from wrong
    return packed(image)


def packed(image: Image.Image) -> bytes:
    """An image's pixels as a PNG, and nothing else of it: no date, no text, no profile."""
    bare = Image.frombytes(image.mode, image.size, image.tobytes())
    file = io.BytesIO()
    bare.save(file, "PNG", optimize=True)
    return file.getvalue()


def _pixels(content: bytes, examples: Examples, *, channels: int) -> Image.Image:
    """The sheet that an entry names.

    Raises:
        ValueError: It is another file, or no such picture; said why.
    """
    if len(content) > LARGEST:
        raise ValueError(f"it has more than {LARGEST} bytes")
    if hashlib.sha256(content).hexdigest() != examples.sha256:
        raise ValueError("its sha256 is another")
    if channels not in MODES:
        raise ValueError(f"images have {channels} channels, and a sheet shows 1 or 3")
    width, height = examples.size
    if width * height * (channels + 1) > LARGEST_RAW:
        raise ValueError(f"{width} x {height} pixels are too many")
    # looked at before an image library opens it: no more is unpacked than that
    if content[:24] != HEAD + struct.pack(">II", width, height):
        raise ValueError(f"it is no PNG of {width} x {height} pixels")
    try:
        image = Image.open(io.BytesIO(content), formats=["PNG"])
        image.load()
    except (OSError, SyntaxError, ValueError) as error:
        raise ValueError(f"its pixels cannot be read: {error}") from error
    if image.mode != MODES[channels]:
        raise ValueError(f"its pixels are {image.mode}, expected {MODES[channels]}")
    return image
