"""How far a packed file may expand: a small one that fills memory or a disk is refused before it does."""

from __future__ import annotations

import contextlib
import os
import zipfile
from pathlib import Path

from benchmark.errors import BenchError
from benchmark.files.limits import MAX_GB, Limits
from benchmark.files.parsing import DAMAGED

MEMBERS = 3_000_000
"""Of an archive; ImageNet has half as many images."""
_TIMES = 200
"""How many times as large as it is packed a file may be; images and weights are a few times."""
_ALWAYS = 256_000_000
"""Bytes that a file may have whatever it was packed into."""


class Expansion:
    """Counts what comes out of a packed file; where the user's environment sets a size, that alone counts."""

    def __init__(self, file: Path, limits: Limits) -> None:
        self._file = file
        self._size = limits.in_force().size
        if not os.environ.get(MAX_GB, "").strip():
            self._size = min(self._size, max(_ALWAYS, _TIMES * file.stat().st_size))
        self._bytes = 0
        self._members = 0

    def member(self, size: int) -> None:
        """Counts one more member, whose size is said in advance.

        Raises:
            BenchError: These are too many, or too large.
        """
        self._members += 1
        if self._members > MEMBERS:
            raise BenchError(f"{str(self._file)!r} holds more than {MEMBERS} members; delete it")
        self.bytes(size)

    def bytes(self, count: int) -> None:
        """Counts bytes.

        Raises:
            BenchError: These are too many.
        """
        self._bytes += count
        if self._bytes > self._size:
            raise BenchError(
                f"{str(self._file)!r} of {self._file.stat().st_size} bytes expands to more than "
                f"{self._size} bytes; delete it, or set {MAX_GB} where that is right"
            )


def refuse_bomb(path: Path, limits: Limits) -> None:
    """Refuses a zip archive (`.npz`, what `torch.save` writes) that says itself that it expands too far.

    What is damaged is left to its reader to refuse, which takes no more from a member than it says.

    Raises:
        BenchError: It holds too much.
    """
    with contextlib.suppress(*DAMAGED), zipfile.ZipFile(path) as archive:
        expansion = Expansion(path, limits)
        for member in archive.infolist():
            expansion.member(member.file_size)
