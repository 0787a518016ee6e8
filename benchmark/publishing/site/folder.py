"""A folder of files, replaced whole or not at all: made beside the old one, then exchanged with it."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from benchmark.errors import BenchError
from benchmark.files.atomic import write_whole
from benchmark.files.temporary import part_folder
from benchmark.publishing.site.pages import MANIFEST

_HERE = -100
"""AT_FDCWD: paths are meant as they stand."""
_EXCHANGE = 2
"""RENAME_EXCHANGE of renameat2(2)."""
_CANNOT = frozenset({errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP})
"""What a kernel or a file system says that has no such exchange."""
MEND = "name a folder of its own, which need not exist"


def replace_folder(out: Path, site: Mapping[str, bytes]) -> None:
    """Puts a site into a folder: all of it, or the old one stays.

    It is written into a hidden folder beside it, which then takes its place. Where the system can exchange two
    folders in one step (Linux does), whoever looks finds either the old or the new one at every moment.
    Elsewhere there is an instant between two renames in which there is none, and the old one stands beside it
    under a hidden name.

    Args:
        out: The folder: not there, empty, or holding a site that this function wrote and nothing else.
        site: Contents by path, with `/` between folders; one of them lists the others.

    Raises:
        BenchError: The folder holds something else, or cannot be written; it is as it was.
    """
    out = out.resolve()
    refuse_foreign(out)
    try:
        with part_folder(out) as part:
            try:
                for path, content in site.items():
                    write_whole(part / path, content)
                # once more: what was put there meanwhile would go with the old site
                refuse_foreign(out)
                _take_place(part, out)
            finally:
                _remove(part, site)
    except OSError as error:
        raise BenchError(
            f"cannot write {out}: {error.strerror or error}; choose a folder that can be written"
        ) from error


def refuse_foreign(out: Path) -> None:
    """Refuses a folder that a site must not replace, since something else would be lost.

    Raises:
        BenchError: It is a file, or holds what `replace_folder` did not put there.
    """
    if not out.is_dir():
        if out.exists():
            raise BenchError(f"expected a folder at {out}, but it is a file; {MEND}")
        return
    ours = {out / path for path in _listed(out)}
    folders = {parent for path in ours for parent in path.parents}
    for path in sorted(out.rglob("*")):
        if path not in ours | folders or path.is_symlink():
            raise BenchError(
                f"{out} holds {str(path.relative_to(out))!r}, which is no part of a site that bench publish "
                f"wrote; {MEND}"
            )


def _listed(folder: Path) -> list[str]:
    """The files of the site in a folder; none where there is no site."""
    try:
        read = json.loads((folder / MANIFEST).read_bytes())
        found = read["files"] if read["made_by"] == "bench publish" else {}
    except (OSError, ValueError, RecursionError, KeyError, TypeError):
        return []
    names = [name for name in found if isinstance(name, str)] if isinstance(found, dict) else []
    inside = [name for name in names if not {"..", ""} & set(name.split("/")) and "\0" not in name]
    return [*inside, MANIFEST]


def _take_place(part: Path, out: Path) -> None:
    """Puts `part` where `out` is, and what `out` was where `part` is."""
    if not out.exists():
        part.rename(out)
    elif not _exchanged(part, out):
        old = part.with_suffix(".old")
        out.rename(old)
        try:
            part.rename(out)
        except OSError:
            old.rename(out)
            raise
        old.rename(part)


def _exchanged(a: Path, b: Path) -> bool:
    """Exchanges two folders in one step; False where that cannot be done here.

    Raises:
        OSError: It can be done here, and failed.
    """
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError, TypeError):
        return False
    if rename(_HERE, os.fsencode(a), _HERE, os.fsencode(b), _EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in _CANNOT:
        return False
    raise OSError(number, os.strerror(number), str(b))


def _remove(folder: Path, written: Iterable[str]) -> None:
    """Takes away what lies in a hidden folder: a half-written site, or the old one; nothing that is neither."""
    for name in {*written, *_listed(folder)}:
        with contextlib.suppress(OSError):
            (folder / name).unlink()
    for path in [*sorted(folder.rglob("*"), reverse=True), folder]:
        with contextlib.suppress(OSError):
            path.rmdir()
