"""Publishing a site: every entry of a leaderboards folder read, rendered, and put where it belongs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmark.errors import BenchError
from benchmark.publishing.leaderboard.publish import UNREADABLE, read_entries
from benchmark.publishing.site.folder import refuse_foreign, replace_folder
from benchmark.publishing.site.images import read_sheets
from benchmark.publishing.site.pages import render
from benchmark.publishing.site.references import read_beside
from benchmark.records.entry import Entry
from benchmark.records.entry_boundary import Lost, rendered

UNSHOWN = "example images that are missing, or not those that their entry names"


@dataclass(frozen=True, slots=True)
class PublishedSite:
    """What publishing a site did.

    Args:
        index: The page to open first.
        n_pages: Pages that were written.
        n_entries: Entries that were read.
        damaged: One line for each file that could not be read; the index names them too.
    """

    index: Path
    n_pages: int
    n_entries: int
    damaged: tuple[str, ...]


def publish_site(leaderboards: Path, out: Path) -> PublishedSite:
    """Writes a static site from every entry (`<dataset>/<threat>/*.json`) of a leaderboards folder.

    A damaged entry does not stop the others: the index names it, and it stands in what is returned. Nor does a
    sheet of example images that is missing or not its entry's: the entry's page says so.

    Raises:
        BenchError: There is no such folder, or no entry in it that can be read; or `out` lies in it, holds
            something else than such a site, or cannot be written. What was in `out` is still there then.
    """
    if not leaderboards.is_dir():
        raise BenchError(f"expected a folder of leaderboards at {leaderboards}; there is none")
    if out.resolve().is_relative_to(leaderboards.resolve()):
        raise BenchError(f"the site must not lie in {leaderboards}, whose files it is made from")
    refuse_foreign(out.resolve())
    paths = sorted(leaderboards.glob("*/*/*.json"))
    entries, damaged = read_entries(paths)
    if not entries:
        first = next(iter(damaged.values()), "")
        said = f" ({len(damaged)} cannot be read: {first})" if damaged else ""
        raise BenchError(
            f"expected entries (<dataset>/<threat>/*.json) in {leaderboards}, found none{said}; "
            f"`bench run` writes them"
        )
    beside, unread = read_beside(leaderboards)
    sheets, unshown = read_sheets(entries)
    damaged |= unread

    def made(kept: Sequence[Entry], lost: Lost) -> dict[str, bytes]:
        said = dict.fromkeys((*damaged, *lost), UNREADABLE) | dict.fromkeys(unshown, UNSHOWN)
        lines = [f"{path.relative_to(leaderboards)}: {what}" for path, what in said.items()]
        return render(kept, lines, beside, sheets)

    site, lost = rendered(entries, made)
    replace_folder(out, site)
    n_pages = sum(path.endswith(".html") for path in site)
    left_out = (*damaged.values(), *lost.values(), *unshown.values())
    return PublishedSite(out / "index.html", n_pages, len(entries) - len(lost), left_out)
