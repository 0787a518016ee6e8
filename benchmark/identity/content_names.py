"""Names that content makes unique: a short hash behind what is only a file's stem or a class's name."""

from __future__ import annotations

import hashlib
import re
from typing import Final

HASHED: Final = 8
"""Hex digits of a sha256 that stand in a name."""
_HASH = re.compile(rf"-[0-9a-f]{{{HASHED}}}(?![\w-])")


def known_by(name: str, *contents: str) -> str:
    """A name with the first digits of its content's sha256 behind it: `best-1a2b3c4d`.

    Args:
        name: The name.
        contents: sha256s, hex, of what the name does not say; of several not empty, that of all together.

    Names that are unique by themselves (registered ones, RobustBench's, those of shipped datasets) get none;
    others always do, so that no name changes because another file appears.
    """
    found = [sha256 for sha256 in contents if sha256]
    whole = found[0] if len(found) == 1 else hashlib.sha256("".join(found).encode()).hexdigest()
    end = f"-{whole[:HASHED]}"
    return name if name.endswith(end) else f"{name}{end}"


def without_content(label: str) -> str:
    """The label as it would be of any content: what two versions of one defense share."""
    return _HASH.sub("", label)
