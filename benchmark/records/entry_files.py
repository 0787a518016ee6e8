"""Entries on disk, with the files beside them: checked field by field when read, written whole or not."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from pydantic import ValidationError

from benchmark.errors import BenchError
from benchmark.files.atomic import write_whole
from benchmark.records.audit import KeptImages
from benchmark.records.entry import SCHEMA_VERSION, Entry, json_schema
from benchmark.records.example_sheets import sheet_path

SCHEMA_FILE = "schema.json"
"""Beside the folders of entries, and none itself."""
READ = tuple(range(1, SCHEMA_VERSION + 1))
"""Schemas that are read."""
MEND = "make it again by running its command, or move it away"


def read_entry(path: Path) -> Entry:
    """An entry from its file.

    Raises:
        BenchError: It cannot be read, is no JSON, is of another schema, or says what no entry may.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BenchError(f"cannot read {path}: {error.strerror or error}") from error
    try:
        values = json.loads(content, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        reason = str(error) if isinstance(error, ValueError) else "it is nested without end"
        raise BenchError(f"{path} is no JSON ({reason}); {MEND}") from error
    version = values.get("schema_version") if isinstance(values, dict) else None
    if version not in READ or not isinstance(version, int) or isinstance(version, bool):
        raise BenchError(
            f"{path}: expected an entry with schema_version {' or '.join(map(str, READ))}, got "
            f"{short(version)}; "
            f"it was written by another version of purifybench, or is no entry ({MEND})"
        )
    try:
        return Entry.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the entry"
        raise BenchError(
            f"{path}: {short(place)}: {' '.join(first['msg'].split())}; got {short(first['input'])}; "
            f"{MEND}"
        ) from error


def entry_paths(paths: Sequence[Path]) -> list[Path]:
    """The files named, and every JSON file below the folders named but the schema.

    Raises:
        BenchError: A folder holds none.
    """
    files: list[Path] = []
    for path in paths:
        inside = sorted(each for each in path.rglob("*.json") if each.name != SCHEMA_FILE)
        if path.is_dir() and not inside:
            raise BenchError(f"expected entries (*.json) below {path}, found none")
        files += inside if path.is_dir() else [path]
    return files


def write_entry(entry: Entry, path: Path) -> None:
    """Writes an entry, whole or not at all; the same entry gives the same bytes.

    Raises:
        BenchError: The file cannot be written.
    """
    write_whole(path, entry_text(entry).encode())


def entry_text(entry: Entry) -> str:
    """An entry as JSON: fields in the schema's order, a list of plain values on one line."""
    return _render(entry.model_dump(mode="json"), "") + "\n"


def write_schema(leaderboards: Path) -> Path:
    """Writes the JSON Schema of an entry to `schema.json` in the leaderboards' folder, and says where.

    Raises:
        BenchError: It cannot be written.
    """
    path = leaderboards / SCHEMA_FILE
    write_whole(path, f"{json.dumps(json_schema(), indent=2, sort_keys=True)}\n".encode())
    return path


def _render(value: Any, indent: str) -> str:
    deeper = indent + "  "
    if isinstance(value, dict) and value:
        items = [f"{json.dumps(key)}: {_render(item, deeper)}" for key, item in value.items()]
    elif isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        items = [_render(item, deeper) for item in value]
    else:
        return json.dumps(value, allow_nan=False)
    left, right = "{}" if isinstance(value, dict) else "[]"
    return left + ",".join(f"\n{deeper}{item}" for item in items) + f"\n{indent}{right}"


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON number")


def short(value: object, most: int = 80) -> str:
    """A value as a message shows it, in at most so many characters."""
    text = repr(value)
    return text if len(text) <= most else f"{text[: most - 3]}..."


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
