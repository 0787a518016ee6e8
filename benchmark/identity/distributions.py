"""Installed packages as a key sees them: name, version, and what their RECORD says of their files."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

_MINOR = frozenset({"numpy", "torch", "torchvision"})
"""Libraries of which the minor version stands for all: their patch releases and builds differ by machine."""


@dataclass(frozen=True, slots=True, order=True)
class Installed:
    """An installed package.

    Args:
        name: As an index of packages calls it.
        version: Its exact version; `2.1` for one of torch, numpy and torchvision.
        record: sha256 of the hashes of its files, hex; empty where it has none, and for those three.
    """

    name: str
    version: str
    record: str = ""


def installed(folder: Path, top: str) -> tuple[Installed, ...]:
    """The packages of which a top-level module or package in a folder is part; none for a loose file.

    Args:
        folder: An entry of `sys.path`.
        top: The name of the module.
    """
    if not folder.is_dir():
        return ()
    notes = _claims(folder, folder.stat().st_mtime_ns).get(top, ())
    return tuple(sorted(map(_described, notes)))


@lru_cache(maxsize=256)
def _claims(folder: Path, changed: int) -> dict[str, tuple[Path, ...]]:
    """The notes of a folder by the top-level modules that they claim."""
    del changed
    found: dict[str, tuple[Path, ...]] = {}
    for note in sorted(folder.glob("*-info")):
        if note.suffix in {".dist-info", ".egg-info"} and note.is_dir():
            for top in _tops(note):
                found[top] = (*found.get(top, ()), note)
    return found


def _tops(note: Path) -> set[str]:
    """The top-level modules that a package says are its own."""
    lines = _text(note / "RECORD").splitlines()
    heads = {line.partition(",")[0].partition("/")[0] for line in lines}
    heads |= {line.strip() for line in _text(note / "top_level.txt").splitlines()}
    if not heads:
        heads = {note.stem.partition("-")[0]}
    return {head.partition(".")[0] for head in heads if head and not head.endswith("-info")}


def _described(note: Path) -> Installed:
    said, record = note / "METADATA", note / "RECORD"
    if not said.is_file():
        said = note / "PKG-INFO"
    return _read(said, _stamp(said), record, _stamp(record))


def _stamp(path: Path) -> tuple[int, int]:
    return (path.stat().st_mtime_ns, path.stat().st_size) if path.is_file() else (0, 0)


@lru_cache(maxsize=2_000)
def _read(
    said: Path, _said_at: tuple[int, int], record: Path, _record_at: tuple[int, int]
) -> Installed:
    text = _text(said)
    stem = said.parent.stem.split("-")
    name, version = _field(text, "Name") or stem[0], _field(text, "Version") or "-".join(stem[1:2])
    name = re.sub(r"[-_.]+", "-", name).lower()
    if name in _MINOR:
        return Installed(name, ".".join(version.split(".")[:2]))
    return Installed(name, version, _record_sha256(_text(record)))


def _record_sha256(text: str) -> str:
    """That of the files themselves: no scripts, which name their Python, and no notes of the installer."""
    parts = [line.split(",") for line in text.splitlines()]
    kept = sorted(
        ",".join(line)
        for line in parts
        if len(line) >= 3
        and line[-2]
        and not line[0].startswith("..")
        and ".dist-info/" not in line[0]
    )
    return hashlib.sha256("\n".join(kept).encode()).hexdigest() if kept else ""


def _field(text: str, name: str) -> str:
    found = re.search(rf"^{name}:\s*(.+?)\s*$", text, re.MULTILINE)
    return found[1] if found else ""


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
