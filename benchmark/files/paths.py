"""Files that a user names by a path, and what is told apart from a path."""

from __future__ import annotations

from pathlib import Path

from benchmark.errors import BenchError, did_you_mean, near

FORM = "a path, https://...[#sha256=...] or hf:org/name[@revision][/file]"


def is_remote(text: str) -> bool:
    """Whether a text names something that is not a path: a URL, or a file of the Hub."""
    return text.startswith("hf:") or "://" in text


def existing(text: str) -> Path:
    """The file at a path, `~` being the user's own folder.

    Raises:
        BenchError: There is none; those of its folder with a similar name are suggested.
    """
    path = Path(text).expanduser()
    if path.is_file():
        return path
    beside = [one.name for one in path.parent.iterdir()] if path.parent.is_dir() else []
    hint = (
        did_you_mean(str(path.with_name(name)) for name in near(path.name, beside))
        if path.name
        else ""
    )
    raise BenchError(f"there is no weights file {str(path)!r}; give {FORM}.{hint}")
