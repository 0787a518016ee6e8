"""The two families of failure, and what a message about an unknown name suggests.

What the user can mend is a `BenchError`; everything else is a bug of ours.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import Any

MOST = 3
"""Names that a message suggests."""
ENOUGH = 0.6
"""From which likeness on a name is suggested."""
_PART = 0.8
"""The likeness of a name to one that it is a part of."""
_LONGEST = 80
"""Characters of a name that a message repeats."""


class BenchError(Exception):
    """Something the user can mend; the command line prints it as one line and exits with status 2.

    The message says what was expected, what came, and what to do.
    """


class ContractBroken(BenchError):
    """A plugin returned what its interface forbids: a wrong shape or range, NaN, a broken budget."""


class WeightsMissing(BenchError):
    """A defense has no weights for a classifier and a dataset; training it first mends that.

    Args:
        message: One line.
        missing: What is missing (`MissingWeights` of `benchmark.evaluation.prepare.resolve`).
    """

    def __init__(self, message: str, missing: tuple[Any, ...] = ()) -> None:
        super().__init__(message)
        self.missing = missing


def near(name: str, known: Iterable[str]) -> list[str]:
    """The known names most like a name, the likest first; none where none is like it.

    Case, spaces and `-`, `_`, `.` make no difference: where a name is known but for these, it alone is meant.
    Letters in another order count for half, so that `apot` is like `atop`.
    """
    wanted = _bare(name)
    names = list(dict.fromkeys(known))
    same = [one for one in names if _bare(one) == wanted]
    if same or not wanted:
        return same[:MOST]
    likeness = {one: _likeness(wanted, _bare(one)) for one in names}
    found = [one for one in names if likeness[one] >= ENOUGH]
    return sorted(found, key=lambda one: -likeness[one])[:MOST]


def did_you_mean(names: Iterable[str]) -> str:
    """The question at the end of a message, with a space in front; empty where there is nothing to suggest."""
    found = [repr(name) for name in names]
    return f" Did you mean {' or '.join(found)}?" if found else ""


def quoted(text: str) -> str:
    """Somebody's text in a message: quoted, and cut where it is long."""
    return repr(text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…")


def unknown(kind: str, name: str, known: Iterable[str]) -> BenchError:
    """The error for a name that nobody has, with what is near and what there is."""
    names = sorted(known)
    hint = did_you_mean(near(name, names))
    return BenchError(f"no {kind} is called {quoted(name)}.{hint} Known: {', '.join(names)}")


def _bare(name: str) -> str:
    return re.sub(r"[\s_.-]+", "", name[:_LONGEST].casefold())


def _likeness(wanted: str, name: str) -> float:
    """From 0 to 1: the mean of the likeness in order and that of the letters alone."""
    pair = difflib.SequenceMatcher(None, wanted, name, autojunk=False)
    found = (pair.ratio() + pair.quick_ratio()) / 2
    return max(found, _PART) if len(wanted) > 2 and wanted in name else found
