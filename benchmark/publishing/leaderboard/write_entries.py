"""Rows on disk: entries and their sheets written where they belong or over what they were, and their pages."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmark.errors import BenchError
from benchmark.publishing.leaderboard.publish import (
    Published,
    entry_path,
    publish_folder,
    read_entries,
)
from benchmark.publishing.leaderboard.ranking import shares_group
from benchmark.records import entry_files
from benchmark.records.entry import Entry, is_undefended
from benchmark.records.example_sheets import read_sheet
from benchmark.scoring.apply_challenge import carried
from benchmark.scoring.validation import problems_of

Check = Callable[[Entry], list[str]]


@dataclass(frozen=True, slots=True)
class WrittenRow:
    """An entry that was written.

    Args:
        entry: As it stands in its file, with the challenges of the one that it replaced.
        path: Its file.
        lost: One line where challenges of the replaced entry do not fit the new one; else empty.
    """

    entry: Entry
    path: Path
    lost: str


def write_row(
    entry: Entry, sheet: bytes | None, folder: Path, *, images: bytes | None = None
) -> WrittenRow:
    """Writes an entry and the files beside it below a folder of results or leaderboards.

    Args:
        entry: The entry.
        sheet: Its sheet of example images, a PNG; None where it has none.
        folder: Holds `<dataset>/<threat>/*.json` and the schema.
        images: Its kept images, packed; None where they do not go with it.

    Raises:
        BenchError: A file cannot be written.
    """
    path = entry_path(folder, entry)
    kept, lost = with_challenges(entry, path)
    entry_files.write_shown(kept, sheet, path, images=images)
    entry_files.write_schema(folder)
    return WrittenRow(kept, path, lost)


def undefended_beside(rows: Sequence[WrittenRow]) -> list[Entry]:
    """The undefended classifiers of rows whose entries an earlier run wrote into the same folders."""
    folders = dict.fromkeys(row.path.parent for row in rows)
    known, _ = read_entries(path for folder in folders for path in sorted(folder.glob("*.json")))
    own = {row.path for row in rows}
    return [
        entry
        for path, entry in known.items()
        if path not in own
        and is_undefended(entry)
        and any(shares_group(entry, row.entry) for row in rows)
    ]


def _valid(path: Path, check: Check) -> tuple[Entry, bytes | None, bytes | None]:
    """An entry in which `check` finds no problem, its sheet, and its kept images."""
    entry = entry_files.read_entry(path)
    sheet = read_sheet(path, entry)
    problems = check(entry)
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise BenchError(
            f"{path} is not valid: {problems[0]}{more}; `bench validate {path}` lists all of it; run its "
            f"command again"
        )
    return entry, sheet, entry_files.adoptable(path, entry)


def adopt(
    paths: Iterable[Path], folder: Path, check: Check = problems_of, *, audited: bool = False
) -> list[WrittenRow]:
    """Copies valid entries and the files beside them into a folder of leaderboards: all of them, or none.

    Args:
        paths: Of the entries.
        folder: Of the leaderboards.
        check: Gives what is wrong with one, a line each.
        audited: Whether audits in them go along; else they are left out, since anyone may write one.

    Raises:
        BenchError: One of them is not valid, or a file cannot be written.
    """
    rows = [_valid(path, check) for path in paths]
    kept = None if audited else {"audit": None}
    return [
        write_row(entry.model_copy(update=kept), sheet, folder, images=images)
        for entry, sheet, images in rows
    ]


def publish_rows(rows: Sequence[WrittenRow]) -> list[Published]:
    """Writes the page of each folder that rows were written to.

    Raises:
        BenchError: A page cannot be written.
    """
    return [publish_folder(folder) for folder in dict.fromkeys(row.path.parent for row in rows)]


def with_challenges(entry: Entry, path: Path) -> tuple[Entry, str]:
    """A new run's entry with the challenges of the one in its place, so that no run undoes them silently.

    Beside it one line where challenges are lost; else empty.
    """
    try:
        old = entry_files.read_entry(path)
    except BenchError:  # nothing there, or damaged: mended by being written again
        return entry, ""
    if not old.challenges:
        return entry, ""
    kept = carried(old, entry)
    if kept is not None:
        return kept, ""
    names = ", ".join(one.credit or one.sha256[:12] for one in old.challenges)
    return entry, (
        f"{path}: the challenges by {names} were to another victim, other images or other draws, and do not "
        f"stand in the new entry; challenge it again"
    )


def replace_entry(before: Entry, after: Entry, path: Path, how: str) -> Path | None:
    """Writes an entry in its own place, and the page beside it.

    Args:
        before: The entry as it was read.
        after: The same, lowered by a challenge, or with an audit.
        path: Its file.
        how: What was done with it meanwhile: `challenged` or `audited`.

    Returns:
        The page; None where the file lies in no leaderboard's folder, and so has none.

    Raises:
        BenchError: The file holds another entry by now, or cannot be written.
    """
    if entry_files.read_entry(path) != before:
        raise BenchError(f"{path} has changed while it was {how}; give the same command again")
    entry_files.write_entry(after, path)
    folder = path.resolve().parent
    home = entry_path(folder.parent.parent, after)
    return publish_folder(folder).page if home.parent == folder else None
