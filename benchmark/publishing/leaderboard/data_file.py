"""Data files: CSV of which each line is one value, with the fields of its class as header."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

from benchmark.errors import BenchError

T = TypeVar("T")


def header_of(kind: Any) -> list[str]:
    """The first line of a file of such values: the names of its class's fields."""
    return [field.name for field in fields(kind)]


def csv_text(rows: Iterable[Iterable[object]]) -> str:
    """Rows as CSV, the header first."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue()


def read_lines(path: Path, kind: type[T], *, may_lack: bool = False) -> list[T]:
    """The values in a file, each of whose fields is text; none where there may be no file, and is none.

    Raises:
        BenchError: It cannot be read, or a line is not of that form; the line is named.
    """
    if may_lack and not path.is_file():
        return []
    names, found = header_of(kind), []
    try:
        rows = csv.reader(io.StringIO(path.read_text(encoding="utf-8")), strict=True)
    except (OSError, UnicodeDecodeError) as error:
        raise BenchError(f"cannot read {path}: {error}") from error
    try:
        header = next(rows, [])
        if header != names:
            raise BenchError(f"{path}: expected the header {','.join(names)}; got {header}")
        for row in rows:
            if len(row) != len(names):
                raise BenchError(
                    f"{path}, line {rows.line_num}: expected {len(names)} fields, got {len(row)}"
                )
            found.append(kind(*row))
    except csv.Error as error:
        raise BenchError(f"{path}, line {rows.line_num}: {error}") from error
    return found
