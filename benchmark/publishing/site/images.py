"""Pictures of the site: sheets found whole beside their entries, and what an entry's page says of its own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from benchmark.errors import BenchError
from benchmark.publishing.site.urls import Placed
from benchmark.records.entry import Entry
from benchmark.records.entry_files import entry_text
from benchmark.records.example_sheets import read_sheet, sheet_path
from benchmark.records.examples import WHOLE, Examples

WIDE = 96
"""Width of a picture on a page, in pixels, where there is room."""
ABSENT = "its file did not lie beside the entry, whole, when this page was made"


def read_sheets(entries: Mapping[Path, Entry]) -> tuple[dict[str, bytes], dict[Path, str]]:
    """The sheets of entries, given by their files, by the entry's text; of each that is not whole, why."""
    found, damaged = {}, {}
    for path, entry in entries.items():
        try:
            sheet = read_sheet(path, entry)
        except BenchError as error:
            damaged[sheet_path(path)] = str(error)
            continue
        if sheet is not None:
            found[entry_text(entry)] = sheet
    return found, damaged


def gallery(placed: Placed, *, is_there: bool) -> dict[str, Any] | None:
    """What an entry's page says of its images, whose sheet `is_there`; None where it has no examples."""
    entry, shown = placed.entry, placed.entry.examples
    if shown is None:
        return None
    width, height = shown.size
    factor = max(1, round(WIDE / shown.tile[1]))
    titles = tuple(_title(name, shown.scale) for name in shown.columns)
    numbers = ", ".join(str(example.index) for example in shown.rows)
    images = f"{len(shown.rows)} {'image' if len(shown.rows) == 1 else 'images'}"
    return {
        "missing": "" if is_there else ABSENT,
        "source": quote(f"{placed.stem}.png"),
        "width": width * factor,
        "height": height * factor,
        "is_enlarged": factor > 1,
        "alternative": f"{images} ({numbers}), each {', '.join(titles)}; the table below has them in words.",
        "titles": titles,
        "about": (*_columns(entry, shown), _rule(entry)),
        "families": {row.id: row.column for row in entry.attacks},
    }


def _title(name: str, scale: int) -> str:
    return f"{name} ×{scale}" if name in ("change", "left") else name


def _columns(entry: Entry, shown: Examples) -> tuple[str, ...]:
    change = f"Change is what the attack did to the clean image, {shown.scale} times as large, about grey."
    if shown.columns == WHOLE:
        return (
            change,
            "Purified is the adversarial image as it comes out of the purifier, and what the classifier sees; "
            "left is what then still differs from the clean image, drawn like the change.",
        )
    if entry.defense.label == "none":
        return change, "Nothing purifies here: the classifier sees the adversarial image itself."
    return change, "This victim has no one purified image, so that none is shown."


def _rule(entry: Entry) -> str:
    first = "; the purifier’s draws are the first of those that were scored"
    drawn = first if entry.defense.stochastic else ""
    return (
        "Chosen by rule, not by looks: in the order of evaluation the first images that are classified rightly "
        "when clean and whose worst case fell, then the first that held under every attack, with the image "
        f"that came nearest{drawn}."
    )
