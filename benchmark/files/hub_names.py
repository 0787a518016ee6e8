"""Names of files of the Hugging Face Hub: `hf:org/name[@revision][/file]`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote

from benchmark.errors import BenchError

FORM = "hf:org/name, hf:org/name@revision or hf:org/name@revision/file.safetensors"
_PATTERN = re.compile(r"hf:(?P<repo>[\w.-]+/[\w.-]+)(@(?P<revision>[\w.%-]+))?(/(?P<file>[^@]+))?")


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
            raise BenchError(f"{text!r} is not understood: expected {FORM}")
        return cls(found["repo"], unquote(found["revision"] or ""), found["file"] or "")

    def __str__(self) -> str:
        revision = f"@{self.revision.replace('/', '%2F')}" if self.revision else ""
        return f"hf:{self.repo}{revision}{f'/{self.file}' if self.file else ''}"
