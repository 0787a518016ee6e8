"""The sha256 of files, recorded beside those whose publisher gives none: what changes is not silently the same.

`NAME.sha256` holds one line as `sha256sum` writes it, and `sha256sum -c` reads it.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from pathlib import Path

from benchmark.errors import BenchError
from benchmark.files.atomic import write_whole


def file_sha256(path: Path) -> str:
    """The sha256 of a file, hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def record_path(file: Path) -> Path:
    """Where the record of a file lies."""
    return file.with_name(f"{file.name}.sha256")


def recorded_sha256(file: Path) -> str:
    """What a file had when it was first used, hex; empty where nothing is recorded.

    Raises:
        BenchError: The record is damaged.
    """
    path = record_path(file)
    try:
        words = path.read_text(encoding="utf-8", errors="replace").split()
    except FileNotFoundError:
        return ""
    if not words or not re.fullmatch(r"[0-9a-f]{64}", words[0]):
        raise BenchError(f"{str(path)!r} is no record of a sha256; delete it")
    return words[0]


def hold_to_record(file: Path, sha256: str) -> None:
    """Refuses a file that is not the one recorded, by the sha256 that it has now, hex.

    Raises:
        BenchError: Another one is recorded.
    """
    known = recorded_sha256(file)
    if known and known != sha256:
        raise BenchError(
            f"{str(file)!r} has changed: its sha256 is {sha256}, and was {known} when it was first used; "
            f"put the former file there, or delete {record_path(file).name!r} to use this one"
        )


def record(file: Path, sha256: str) -> None:
    """Records what a file has, unless that is recorded, or its folder cannot be written."""
    if not recorded_sha256(file):
        # a shared folder may be read-only; the hash stands in every entry all the same
        with contextlib.suppress(BenchError):
            write_whole(record_path(file), f"{sha256}  {file.name}\n".encode())
