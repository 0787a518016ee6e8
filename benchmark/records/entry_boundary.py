"""The boundary around each entry: what goes wrong with one is said of it, and the others go on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

from benchmark.compute.sandbox import one_line
from benchmark.records.entry import Entry
from benchmark.records.entry_files import MEND

Made = TypeVar("Made")
Lost = Mapping[Path, str]


def failure_of(action: Callable[[], object]) -> str:
    """Why something fails that is done with one entry, one line; empty where it does not."""
    try:
        action()
    except Exception as error:  # noqa: BLE001 (an entry is anyone's file, and must stop no other)
        return one_line(error)
    return ""


def rendered(
    entries: Mapping[Path, Entry], render: Callable[[Sequence[Entry], Lost], Made]
) -> tuple[Made, Lost]:
    """Renders entries of files; those that cannot be rendered are left out, each with a line that says why.

    Raises:
        Exception: Rendering fails whichever entry is left out; that is no entry's fault.
    """
    made: list[Made] = []
    if not failure_of(lambda: made.append(render(list(entries.values()), {}))):
        return made[0], {}
    lost = {}
    for path, entry in entries.items():
        why = failure_of(partial(render, [entry], {}))
        if why:
            lost[path] = f"{path}: it can be read and not shown ({why}); {MEND}"
    kept = [entry for path, entry in entries.items() if path not in lost]
    return render(kept, lost), lost
