"""Places: which folder and file of the site a board page and an entry page get; no two the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from urllib.parse import quote

from benchmark.publishing.leaderboard.escaping import short_hash
from benchmark.publishing.leaderboard.publish import entry_stem, folder_names
from benchmark.publishing.leaderboard.ranking import Board, boards
from benchmark.records.entry import Entry
from benchmark.records.entry_files import entry_text

LONGEST = 180
"""Characters of a name; with a hash and an ending it is below the 255 that file systems take."""


@dataclass(frozen=True, slots=True)
class Placed:
    """An entry with the name of its page, without the ending."""

    entry: Entry
    stem: str

    @property
    def page(self) -> str:
        """The link to its page, from its board."""
        return quote(f"{self.stem}.html")

    @property
    def data(self) -> str:
        """The link to its JSON, from its board or its page."""
        return quote(f"{self.stem}.json")


@dataclass(frozen=True, slots=True)
class Shelf:
    """What one page shows: the boards of one dataset and threat.

    Args:
        folder: The folder of the page and of the pages of its entries.
        boards: Its boards.
        places: Where each of their entries has its page, by the entry's `id`; those not shown on a board too.
    """

    folder: str
    boards: tuple[Board, ...]
    places: Mapping[int, Placed]

    def placed(self, entry: Entry) -> Placed:
        """An entry of its boards in its place."""
        return self.places[id(entry)]

    @property
    def first(self) -> Entry:
        """An entry that stands for all, where they agree: dataset and threat."""
        return self.boards[0].first

    @property
    def page(self) -> str:
        """The link to its page, from the index."""
        return f"{quote(self.folder)}/index.html"


def shelves(entries: Sequence[Entry]) -> list[Shelf]:
    """Every dataset and threat with its boards; an entry that is there twice is shown once."""
    once = {entry_text(entry): entry for entry in entries}
    grouped = boards([once[text] for text in sorted(once)])
    groups = [list(group) for _, group in groupby(grouped, key=lambda board: _task(board.first))]
    wanted = ["--".join(folder_names(group[0].first)) for group in groups]
    folders = settled(wanted, [repr(_task(group[0].first)) for group in groups])
    return [_shelf(folder, group) for folder, group in zip(folders, groups, strict=True)]


def _shelf(folder: str, grouped: Sequence[Board]) -> Shelf:
    ordered = [entry for board in grouped for entry in (*board.entries, *board.others)]
    stems = settled(list(map(entry_stem, ordered)), list(map(entry_text, ordered)))
    places = {id(e): Placed(e, stem) for e, stem in zip(ordered, stems, strict=True)}
    return Shelf(folder, tuple(grouped), places)


def _task(entry: Entry) -> tuple[str, str, float]:
    return entry.dataset.name, entry.threat.norm, entry.threat.eps


def settled(wanted: Sequence[str], contents: Sequence[str]) -> list[str]:
    """Names of which no two are the same on any file system.

    Args:
        wanted: Names that are safe for a file.
        contents: What each stands for; no two the same. Where names clash, or are too long, its hash is added.
    """
    cut = [name if len(name) <= LONGEST else name[:LONGEST].rstrip("-.") for name in wanted]
    folded = [name.casefold() for name in cut]
    return [
        name
        if name == asked and folded.count(name.casefold()) == 1
        else f"{name}--{short_hash(what)}"
        for name, asked, what in zip(cut, wanted, contents, strict=True)
    ]
