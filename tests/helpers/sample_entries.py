"""Small entries, and pages as a reader sees them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from markdown_it import MarkdownIt

from benchmark.publishing.leaderboard.ranking import boards
from benchmark.records.entry import Entry
from tests.helpers.run_builder import Run, deterministic


def toy(label: str, *, clean: str = "1111", pgd: str = "1100", **fields: Any) -> Entry:
    """An entry with two rows."""
    return Run(rows=deterministic(clean=clean, pgd=pgd), label=label, **fields).entry()


def ranked(entries: Iterable[Entry]) -> list[Entry]:
    """The entries of all boards, each board's in its order."""
    return [entry for board in boards(entries) for entry in board.entries]


def labels(entries: Iterable[Entry]) -> list[str]:
    return [entry.defense.label for entry in entries]


def cells(page: str) -> list[list[str]]:
    """Every table of a page as rows of plain text, as a reader sees it."""
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(page)
    rows: list[list[str]] = []
    inside = False
    for token in tokens:
        if token.type == "tr_open":
            rows.append([])
        inside = inside or token.type in ("td_open", "th_open")
        if inside and token.type == "inline":
            kinds = {child.type for child in token.children or []}
            assert kinds <= {"text", "text_special"}, kinds
            rows[-1].append("".join(child.content for child in token.children or []))
        inside = inside and token.type not in ("td_close", "th_close")
    return rows
