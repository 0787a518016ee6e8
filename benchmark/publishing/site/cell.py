"""Cells of the site: the text of a number, split into what stands large, what stands small, and its order."""

from __future__ import annotations

import re
from dataclasses import dataclass

_NUMBER = re.compile(r"(?:≤ )?([+-]?\d+(?:\.\d+)?(?:e[+-]?\d+)?)([kM]?)")
_SCALES = {"": 1.0, "k": 1e3, "M": 1e6}


@dataclass(frozen=True, slots=True)
class Cell:
    """One number of a table: what stands first, what stands smaller behind it, and what it is sorted by."""

    main: str
    rest: str
    key: float | None

    @classmethod
    def of(cls, text: str) -> Cell:
        """A cell of `cells.numbers`."""
        main, bracket, rest = text.partition(" (")
        found = _NUMBER.match(text)
        key = float(found[1]) * _SCALES[found[2]] if found else None
        return cls(main, f"{bracket.strip()}{rest}", key)
