"""Audited entries on disk: what an audit found, written into the entry that it was made on."""

from __future__ import annotations

from pathlib import Path

from benchmark.errors import BenchError
from benchmark.publishing.audits import Audit
from benchmark.publishing.entry import Entry
from benchmark.publishing.entry_files import read_entry, write_entry
from benchmark.publishing.publish import entry_path, publish_folder


def write_audited(before: Entry, audit: Audit, path: Path) -> Path | None:
    """Writes an audit into its entry, in the place of an earlier one, and the page beside it.

    Args:
        before: The entry as it was read.
        audit: What was found.
        path: Its file.

    Returns:
        The page; None where the file lies in no leaderboard's folder, and so has none.

    Raises:
        BenchError: The file holds another entry by now, or cannot be written.
    """
    if read_entry(path) != before:
        raise BenchError(f"{path} has changed while it was audited; give the same command again")
    after = before.model_copy(update={"audit": audit})
    write_entry(after, path)
    folder = path.resolve().parent
    home = entry_path(folder.parent.parent, after)
    return publish_folder(folder).page if home.parent == folder else None
