"""Temporary files and folders, locked while their owner lives, so that what a killed process left can be told.

A lock (`flock`) ends with its process, however that one ends, and no later process of the same number has it. A
name says on which machine the lock counts: what another one left on a shared disk is removed when it is old.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import platform
import re
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path

from benchmark.errors import BenchError

PREFIX = "purifybench-"
"""How the names of folders in the system's temporary folder begin."""
OLD_SECONDS = 7 * 86_400.0
"""After so long what another machine's process made is taken for abandoned."""

_OURS = re.compile(rf"(?:{PREFIX}|\..*\.)([0-9a-f]{{8}})-(\d+)-[0-9a-f]{{8}}(?:\.part)?")
_SEMAPHORES = Path("/dev/shm")
_TRIES = 10
_held: set[Path] = set()


def part_of(final: Path) -> Path:
    """A new hidden name beside a file or folder, for what gets that name once it is whole."""
    return final.with_name(f".{final.name[:40]}.{_token()}.part")


def hold(handle: int, path: Path) -> bool:
    """Locks an open file or folder until it is closed; False where another process took it away just before."""
    with contextlib.suppress(OSError):  # a file system without locks
        fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        return os.path.samestat(os.fstat(handle), path.lstat())
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def temporary_folder() -> Iterator[Path]:
    """Makes a folder in the system's temporary one, which goes with everything in it.

    Raises:
        BenchError: None can be made.
    """
    try:
        place = Path(tempfile.gettempdir()).absolute()
        clear_once(place)
        folder, handle = _made(lambda: place / f"{PREFIX}{_token()}", 0o700)
    except OSError as error:
        raise BenchError(
            f"no temporary folder can be made: {error.strerror or error}; set TMPDIR to a folder that can be "
            f"written, with room on its disk"
        ) from error
    with _removed(folder, handle):
        yield folder


def put(file: Path, content: bytes) -> None:
    """Writes a file of a temporary folder.

    Raises:
        BenchError: It cannot be written.
    """
    try:
        file.write_bytes(content)
    except OSError as error:
        raise BenchError(
            f"the temporary file {str(file)!r} cannot be written: {error.strerror or error}; set TMPDIR to a "
            f"folder that can be written, with room on its disk"
        ) from error


@contextlib.contextmanager
def part_folder(final: Path) -> Iterator[Path]:
    """Makes a hidden folder beside the place of one that is to be there whole or not at all; goes likewise.

    Raises:
        OSError: It cannot be made.
    """
    final.parent.mkdir(parents=True, exist_ok=True)
    clear_once(final.parent.absolute())
    folder, handle = _made(lambda: part_of(final), 0o777)
    with _removed(folder, handle):
        yield folder


def clear(folder: Path) -> None:
    """Removes what killed processes left half-written in a folder, not below it; what is in use stays."""
    with contextlib.suppress(OSError):
        _clear_of(folder, [path.name for path in folder.iterdir()])


clear_once = cache(clear)
"""The same, the first time that this process is asked to; the folder's path is absolute."""


def clear_up(runs: Path) -> None:
    """Removes what killed processes of this user left: temporary folders, and half-written files of runs.

    Args:
        runs: A folder in which they wrote, at any depth.
    """
    with contextlib.suppress(
        FileNotFoundError
    ):  # said where a folder for temporary files is needed
        clear(Path(tempfile.gettempdir()))
    for place, folders, files in os.walk(runs):
        _clear_of(Path(place), (*folders, *files))


def remove_held() -> None:
    """Removes this process's own temporary folders at once: it is about to end."""
    for folder in list(_held):
        shutil.rmtree(folder, ignore_errors=True)


def _token() -> str:
    """Machine, process and chance: what no other process and no other call has in a name."""
    return f"{_machine()}-{os.getpid()}-{secrets.token_hex(4)}"


@cache
def _machine() -> str:
    """Eight hex digits that processes have in common whose locks see each other: one kernel since its start."""
    try:
        name = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
    except OSError:
        name = platform.node()
    return hashlib.sha256(name.encode()).hexdigest()[:8]


def _made(name: Callable[[], Path], mode: int) -> tuple[Path, int]:
    """A new folder, and the handle that holds its lock."""
    for _ in range(_TRIES):
        folder = name()
        folder.mkdir(mode=mode)
        with contextlib.suppress(FileNotFoundError):  # taken away before it was locked
            handle = os.open(folder, os.O_RDONLY)
            if hold(handle, folder):
                return folder, handle
            os.close(handle)
    raise FileNotFoundError(f"{name().parent} loses every folder that is made in it")


@contextlib.contextmanager
def _removed(folder: Path, handle: int) -> Iterator[None]:
    _held.add(folder)
    try:
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        _held.discard(folder)
        os.close(handle)


def _clear_of(folder: Path, names: Iterable[str]) -> None:
    for name in names:
        if _OURS.fullmatch(name):
            with contextlib.suppress(OSError):
                _remove_abandoned(folder / name)


def _remove_abandoned(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        if not _is_abandoned(path, handle):
            return
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
            _remove_semaphores(path)
        else:
            path.unlink()
    finally:
        os.close(handle)


def _is_abandoned(path: Path, handle: int) -> bool:
    about = os.fstat(handle)
    if about.st_uid != os.geteuid():
        return False
    owner = _OURS.fullmatch(path.name)
    if owner and owner[1] == _machine():
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:  # a file system without locks: only age tells
            pass
        else:
            return True
    return time.time() - about.st_mtime > OLD_SECONDS


def _remove_semaphores(folder: Path) -> None:
    """Removes the semaphores of the pool whose folder it was; its tracker does where it was not killed too."""
    owner = _OURS.fullmatch(folder.name)
    if owner is None or owner[1] != _machine() or Path(f"/proc/{owner[2]}").exists():
        return
    for semaphore in _SEMAPHORES.glob(f"sem.loky-{owner[2]}-*"):
        with contextlib.suppress(OSError):
            if semaphore.stat().st_uid == os.geteuid():
                semaphore.unlink()
