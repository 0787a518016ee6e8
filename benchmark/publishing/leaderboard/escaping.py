"""Names made safe: anyone's text for a table in Markdown, for a terminal, and for the name of a file."""

from __future__ import annotations

import hashlib
import re
import unicodedata

_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "|": "&#124;", "\\": "&#92;", "$": "&#36;"}
_ESCAPED = "`*_[]~"
LONGEST = 60
"""Characters of a file name's part: three, each with its hash, are below the 255 that file systems take."""
_RESERVED = re.compile(r"(?i)(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\..*)?")
"""Names that stand for devices on Windows."""


def plain(text: str) -> str:
    """One line without control characters, invisible ones, or those that turn the direction of writing."""
    visible = (" " if unicodedata.category(c)[0] in "CZ" else c for c in text)
    return " ".join("".join(visible).split())


def shortened(text: str, longest: int) -> str:
    """`plain` text of at most so many characters."""
    line = plain(text)
    return line if len(line) <= longest else f"{line[: longest - 1]}…"


def markdown(text: str) -> str:
    """Text that reads as itself in a Markdown table, heading or list: no markup, no HTML, no link."""
    line = "".join(_ENTITIES.get(c, f"\\{c}" if c in _ESCAPED else c) for c in plain(text))
    return line.replace("://", "&#58;//").replace("www.", "www&#46;")


def file_name(text: str) -> str:
    """Part of a file's or folder's name: letters, digits and `. _ + - [ ]`, with no `--` and no dot in front.

    Where that changes the text, a short hash of the text follows, so that two texts never share a name.
    """
    safe = re.sub(r"-+", "-", re.sub(r"[^A-Za-z0-9._+\[\]-]", "-", text)).lstrip(".-").rstrip("-.")
    safe = safe[:LONGEST].rstrip("-.")
    if _RESERVED.fullmatch(safe):
        safe = f"{safe.replace('.', '-')}-"
    if safe == text and safe:
        return safe
    safe = safe.rstrip("-")
    return "-".join(part for part in (safe, short_hash(text)) if part)


def short_hash(text: str) -> str:
    """The first eight hex digits of a text's sha256."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
