"""Entries on disk that were challenged or audited: written over what they were, and outliving a new run."""

from __future__ import annotations

from pathlib import Path

from benchmark.errors import BenchError
from benchmark.publishing.leaderboard.publish import entry_path, publish_folder
from benchmark.records.entry import Entry
from benchmark.records.entry_files import read_entry, write_entry
from benchmark.scoring.apply_challenge import carried


def with_challenges(entry: Entry, path: Path) -> tuple[Entry, str]:
    """A new run's entry with the challenges of the one in its place, so that no run undoes them silently.

    Args:
        entry: Of the new run.
        path: Where it is about to be written.

    Returns:
        The entry to be written, and one line where challenges are lost; else empty.
    """
    try:
        old = read_entry(path)
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
    if read_entry(path) != before:
        raise BenchError(f"{path} has changed while it was {how}; give the same command again")
    write_entry(after, path)
    folder = path.resolve().parent
    home = entry_path(folder.parent.parent, after)
    return publish_folder(folder).page if home.parent == folder else None
