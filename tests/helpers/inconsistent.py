"""Entries that parse and make no sense: one field of a good entry after the other, changed."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from benchmark.records.entry import Entry
from benchmark.records.run import DefenseMeasurement
from tests.helpers.entry_with_examples import pictured
from tests.helpers.run_builder import WHOLE, Varied, deterministic

DIAGNOSIS = (
    Varied(kind="steps", cells="110"),
    Varied(kind="noise", cells="111"),
    Varied(kind="eps", cells="100", eps=0.1),
    Varied(kind="eps", cells="000", eps=0.5),
    Varied(kind="frozen", cells="110", own=0.25),
)
TEXTS = ("", "zzz", "é\u202e\U0001f600", "x" * 3_000, "0", "linf:1e400", "none")
NUMBERS = (0, 1, -1, 10**18, 2**63, 10**30, 10**400)
SHARES = (0.0, 1.0, -1.0, 1e308, 5e-324, 1e-12)


def whole(*, is_stochastic: bool) -> Entry:
    """An entry with everything that an entry may have, challenges apart."""
    rows = WHOLE | deterministic(square="111110")
    entry, _ = pictured(
        rows=rows,
        sources={"made-bare:net": list("000000"), "clean-bare:net": list("111110")},
        traces={"pgd": (1.0, 0.75, 0.5, 0.5, 0.25), "autoattack": (0.5,)},
        warnings={"autoattack": ("it randomises",)},
        diagnosis=DIAGNOSIS,
        examination=tuple(
            DefenseMeasurement(id=name, value=0.5, threshold=1.0, detail="it")
            for name in ("gradient", "memory", "batch", "constant")
        ),
        is_stochastic=is_stochastic,
    )
    return entry


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where something can be changed; of a list the first and the last."""
    if path:
        yield path
    if isinstance(value, dict):
        for key in value:
            yield from places(value[key], (*path, key))
    elif isinstance(value, list):
        for i in sorted({0, len(value) - 1}) if value else ():
            yield from places(value[i], (*path, i))


def instead(value: Any) -> Iterator[Any]:
    """What may stand there instead: of the same kind, or nothing."""
    yield None
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, str):
        yield from TEXTS
        if value and set(value) <= {"0", "1"}:
            yield from (value + "1", value[:-1], "".join("10"[int(bit)] for bit in value))
    elif isinstance(value, int):
        yield from (value + 1, *NUMBERS)
    elif isinstance(value, float):
        yield from (value / 2, *SHARES)
    elif isinstance(value, list):
        yield from ([], value[:-1], value + value[-1:], value[::-1], value[:1])
    elif isinstance(value, dict):
        yield {}
        yield from ({k: v for k, v in value.items() if k != key} for key in value)


def changed(values: Any) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Each place with the values changed there, and everything else as it was."""
    for path in places(values):
        found = values
        for key in path:
            found = found[key]
        for other in instead(found):
            if other != found:
                yield path, _put(values, path, other)


def _put(values: Any, path: tuple[Any, ...], other: Any) -> Any:
    """The values with another one at a place; what lies beside the path is shared."""
    made = copy.copy(values)
    made[path[0]] = other if len(path) == 1 else _put(values[path[0]], path[1:], other)
    return made
