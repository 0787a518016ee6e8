"""Challenged entries on disk: written over the entry that was challenged and no other, with its page."""

from __future__ import annotations

from pathlib import Path

from benchmark.errors import BenchError
from benchmark.publishing.entry import Entry
from benchmark.publishing.entry_files import read_entry, write_entry
from benchmark.publishing.publish import entry_path, publish_folder


def write_challenged(before: Entry, after: Entry, path: Path) -> Path | None:
    """Writes a lowered entry in the place of the one that was challenged, and the page beside it.

    Args:
        before: The entry as it was read.
        after: The same, lowered.
        path: Its file.

    Returns:
        The page; None where the file lies in no leaderboard's folder, and so has none.

    Raises:
        BenchError: The file holds another entry by now, or cannot be written.
    """
    if read_entry(path) != before:
        raise BenchError(f"{path} has changed while it was challenged; give the same command again")
    write_entry(after, path)
    folder = path.resolve().parent
    home = entry_path(folder.parent.parent, after)
    return publish_folder(folder).page if home.parent == folder else None
