"""Files that a user names: by a path, or as `hf:org/name[@revision][/file]` on the Hugging Face Hub."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from benchmark.errors import BenchError, did_you_mean, near

HUB_FORM = "hf:org/name, hf:org/name@revision or hf:org/name@revision/file.safetensors"
FORM = "a path, https://...[#sha256=...] or hf:org/name[@revision][/file]"
_PATTERN = re.compile(r"hf:(?P<repo>[\w.-]+/[\w.-]+)(@(?P<revision>[\w.%-]+))?(/(?P<file>[^@]+))?")


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
    alike = near(path.name, beside) if path.name else []
    hint = did_you_mean(str(path.with_name(name)) for name in alike)
    raise BenchError(f"there is no weights file {str(path)!r}; give {FORM}.{hint}")


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file of a model repository.

    Args:
        repo: `org/name`.
        revision: A branch, a tag or a commit; empty for `main`.
        file: Its path in the repository; empty for the only .safetensors file there is.
    """

    repo: str
    revision: str = ""
    file: str = ""

    @classmethod
    def parse(cls, text: str) -> HubFile:
        """Reads `hf:org/name[@revision][/file]`; a slash in a revision is written %2F.

        Raises:
            BenchError: It is not of that form.
        """
        found = _PATTERN.fullmatch(text)
        if found is None or not {"", ".", ".."}.isdisjoint(text.split("/")):
            raise BenchError(f"{text!r} is not understood: expected {HUB_FORM}")
        return cls(found["repo"], unquote(found["revision"] or ""), found["file"] or "")

    def __str__(self) -> str:
        revision = f"@{self.revision.replace('/', '%2F')}" if self.revision else ""
        return f"hf:{self.repo}{revision}{f'/{self.file}' if self.file else ''}"
