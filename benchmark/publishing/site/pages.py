"""Pages: every file of the site as bytes, from entries alone; the same entries give the same bytes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from benchmark.publishing.leaderboard.board_text import place_of, remarks
from benchmark.publishing.leaderboard.cells import Cell, with_interval
from benchmark.publishing.leaderboard.escaping import plain, shortened
from benchmark.publishing.leaderboard.footnotes import name_marks, raised
from benchmark.publishing.leaderboard.seeds import spreads
from benchmark.publishing.site.board_page import NAME_LENGTH, board_view, explained, summaries
from benchmark.publishing.site.entry_page import entry_view, words
from benchmark.publishing.site.references import Beside
from benchmark.publishing.site.urls import Shelf, shelves
from benchmark.records.entry import Entry
from benchmark.records.entry_files import entry_text

MANIFEST = "site.json"
"""Lists every other file of the site: what a later publishing may replace."""
ASSETS = ("style.css", "table.js", "icon.svg")
NOTHING = Beside()
NO_SHEETS: Mapping[str, bytes] = {}
_PACKAGE = "benchmark.publishing.site"


def render(
    entries: Sequence[Entry],
    left_out: Sequence[str] = (),
    beside: Beside = NOTHING,
    sheets: Mapping[str, bytes] = NO_SHEETS,
) -> dict[str, bytes]:
    """The site: each file's content by its path, with `/` between folders.

    Args:
        entries: In any order; at least one.
        left_out: Files that could not be read, one line each; the index names them.
        beside: Numbers of others.
        sheets: Example images that are what their entries name, by the text of the entry.
    """
    environment = _environment()
    placed = shelves(entries)
    assets = files(_PACKAGE).joinpath("assets")
    site = {f"assets/{name}": assets.joinpath(name).read_bytes() for name in ASSETS}
    site["index.html"] = _page(
        environment,
        "index.html",
        "",
        summaries=[line for shelf in placed for line in summaries(shelf)],
        n_entries=sum(len(shelf.places) for shelf in placed),
        flags=explained(placed),
        left_out=left_out,
    )
    for shelf in placed:
        site |= _shelf(environment, shelf, beside, sheets)
    hashes = {path: hashlib.sha256(site[path]).hexdigest() for path in sorted(site)}
    manifest = json.dumps({"made_by": "bench publish", "files": hashes}, indent=1)
    return site | {MANIFEST: f"{manifest}\n".encode()}


def _shelf(
    environment: Environment, shelf: Shelf, beside: Beside, sheets: Mapping[str, bytes]
) -> dict[str, bytes]:
    """The page of a dataset and threat, and the pages and data of its entries."""
    first = shelf.first
    names = {"dataset": first.dataset.name, "threat": first.threat.text}
    shared = {**names, "in_words": in_words(first)}
    views = [board_view(shelf, each, i, beside) for i, each in enumerate(shelf.boards, start=1)]
    page = _page(environment, "board.html", "../", boards=views, **shared)
    made = {f"{shelf.folder}/index.html": page}
    claimed = beside.claimed([placed.entry for placed in shelf.places.values()])
    spread = {key: said for board in shelf.boards for key, said in spreads(board).items()}
    for placed in shelf.places.values():
        path, text = f"{shelf.folder}/{placed.stem}", entry_text(placed.entry)
        sheet = sheets.get(text)
        if sheet is not None:
            made[f"{path}.png"] = sheet
        view = entry_view(
            placed, claimed.get(id(placed.entry), ()), sheet, spread.get(id(placed.entry), "")
        )
        made[f"{path}.html"] = _page(environment, "entry.html", "../", **view, **shared)
        made[f"{path}.json"] = text.encode()
    return made


def in_words(entry: Entry) -> str:
    """A threat as a sentence; empty for one that has no such words."""
    amount = entry.threat.text.partition(":")[2] or f"{entry.threat.eps:g}"
    words = {
        "linf": f"every pixel may change by at most {amount} (pixels lie in [0, 1])",
        "l2": f"the whole change has a Euclidean length of at most {amount} (pixels lie in [0, 1])",
    }
    return words.get(entry.threat.norm, "")


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader(_PACKAGE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_one_line,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "cell": Cell.of,
        "marks": name_marks,
        "percent": lambda share: f"{100 * share:.1f}",
        "place": place_of,
        "raised": raised,
        "remarks": remarks,
        "short": lambda text: shortened(text, NAME_LENGTH),
        "title": _title,
        "with_interval": with_interval,
        "words": words,
    }
    return environment


def _one_line(value: object) -> object:
    """What is put into a page: anyone's text without control characters; our own markup as it is."""
    return plain(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _title(text: str) -> Markup:
    """A column's title, whose `95 %` stays on one line."""
    return escape(plain(text)).replace(" %", "\N{NO-BREAK SPACE}%")


def _page(environment: Environment, template: str, root: str, **values: Any) -> bytes:
    return environment.get_template(template).render(root=root, **values).encode()
