"""Files that are opened while somebody's code runs: by Python, and by the readers that open them elsewhere."""

from __future__ import annotations

import os
import stat
import sys
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

import safetensors
import torch

from benchmark.files.user_folders import cache_folder
from benchmark.identity.file_hashes import content_sha256
from benchmark.identity.module_places import is_project, is_python

_NOWHERE = ("/dev", "/proc", "/sys", "/etc", "/usr/lib", "/usr/share")
"""Folders of the machine, not of the one who uses it."""
_CODE = frozenset({".py", ".pyc", ".pyi", ".so", ".pyd", ".dll", ".dylib", ".pth"})
_WRITES = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class Opened:
    """The files that were read by what ran inside a `watched()`, and the content of each at its end."""

    def __init__(self) -> None:
        self._read: set[Path] = set()
        self._hashes: dict[Path, str] = {}

    def hashes(self) -> tuple[str, ...]:
        """sha256 of each file, in an order that hangs on no path."""
        return tuple(sorted(set(self._hashes.values())))

    def add(self, path: object) -> None:
        """Takes up a file that is about to be read."""
        if isinstance(path, str | bytes | os.PathLike):
            self._read.add(Path(os.path.abspath(os.fsdecode(path))))  # noqa: PTH100 (no link is followed)

    def settle(self, held: Collection[Path] = ()) -> None:
        """Takes the content of what was read since the last time, but for files that keys hold otherwise."""
        found, self._read = self._read, set()
        apart = {Path(place) for file in held for place in (os.path.abspath(file), file.resolve())}  # noqa: PTH100
        for file in found - apart:
            try:
                if _counts(file):
                    self._hashes[file] = content_sha256(file)
            except (OSError, ValueError):
                continue  # it has gone, or never was


class _Watching(threading.local):
    """What is watching in this thread, the innermost last."""

    def __init__(self) -> None:
        self.all: list[Opened] = []


_watching = _Watching()


_KNOWN: dict[str, Opened] = {}
"""What was ever opened on behalf of each: code that keeps what it read opens nothing twice."""


@contextmanager
def watched(whose: str, *, held: Collection[Path] = ()) -> Iterator[Opened]:
    """Keeps account of the files that are read in here, by this thread.

    Args:
        whose: Who reads them. All files that were ever read for the same one in this process are given.
        held: Files whose content keys hold otherwise, such as the weights that a purifier is given: they change
            from use to use, and those of an earlier use must be in no later key.
    """
    _install()
    found = _KNOWN.setdefault(whose, Opened())
    _watching.all.append(found)
    try:
        yield found
    finally:
        _watching.all.remove(found)
        found.settle(held)


def _counts(file: Path) -> bool:
    """Whether a file's content is the user's, and is in no key yet."""
    return (
        stat.S_ISREG(file.stat().st_mode)
        and file.suffix not in _CODE
        and not str(file).startswith(tuple(f"{place}/" for place in _NOWHERE))
        and not is_python(file)
        and not is_project(file)
        and not any(part.endswith((".dist-info", ".egg-info")) for part in file.parts)
        and cache_folder() not in file.parents
    )


def _saw(path: object) -> None:
    for each in _watching.all:
        each.add(path)


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and _watching.all:
        path, mode, flags = arguments
        if not ((flags or 0) & _WRITES or set(mode or "") & set("wax")):
            _saw(path)


_is_installed = False


def _install() -> None:
    """Puts the hook in place, which stays for good; and ours before readers that no hook sees."""
    global _is_installed
    if _is_installed:
        return
    _is_installed = True
    sys.addaudithook(_audit)
    torch._C.import_ir_module = _seeing(torch._C.import_ir_module, at=1)
    _patch_safetensors()
    _patch_image_reader()


def _seeing(read: Callable[..., Any], at: int = 0) -> Callable[..., Any]:
    """The same reader, of which we know what it reads."""

    @wraps(read)
    def seeing(*args: Any, **kwargs: Any) -> Any:
        _saw(args[at] if len(args) > at else next(iter(kwargs.values()), None))
        return read(*args, **kwargs)

    return seeing


def _patch_safetensors() -> None:
    """`safe_open` opens files from Rust; whoever imported it by name before has it under that name."""
    original = safetensors.safe_open
    ours = _seeing(original)
    for module in list(sys.modules.values()):
        if getattr(module, "safe_open", None) is original:
            module.safe_open = ours  # type: ignore[attr-defined]


def _patch_image_reader() -> None:
    """Torchvision's `read_image`, `decode_image` and `read_file` end at one operator, which opens the file."""
    space: Any = torch.ops.image

    def read_file(path: str) -> Any:
        _saw(path)
        operator = type(space).__getattr__(space, "read_file")  # which puts itself into our place
        space.read_file = read_file
        return operator(path)

    space.read_file = read_file
