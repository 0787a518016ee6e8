"""Flags of the choice: what a random victim's worst case says beside the rows that it was chosen from."""

from __future__ import annotations

import math
from collections.abc import Sequence

from benchmark.engine.criterion import Rule
from benchmark.records.entry import Entry
from benchmark.records.entry_parts import Flag
from benchmark.records.protocol import Column
from benchmark.records.rates import mean_rate
from benchmark.scoring.choice import choose
from benchmark.scoring.derived_rows import Rows
from benchmark.scoring.flag_parts import not_run, percent, raised_above

STANDARD_ERRORS = 3.0
"""By how many standard errors of the paired difference a worst case may lie above what it was chosen from:
choice and score meet different draws, so that by chance it does; 1 row in 700 lies farther."""
NAME = "worst-above-column"


def worst_above_column(entry: Entry) -> Flag:
    """Whether a random victim's worst case is above a counting row or column, by more than chance makes it."""
    if not entry.defense.stochastic:
        return not_run(
            NAME, "a deterministic victim is asked once, and its worst case is the least of all"
        )
    if entry.is_legacy or not entry.per_image.worst:
        return not_run(NAME, "there is no worst case, or no scores are kept")
    compared = [
        (_errors(entry.per_image.worst, bits), name, bits) for name, bits in _chosen_from(entry)
    ]
    if not compared:
        return not_run(NAME, "no attack of the protocol counts for such a victim")
    most, name, bits = max(compared, key=lambda each: each[0])
    detail = (
        f"most above {name}: worst case {percent(mean_rate(entry.per_image.worst))}, {name} "
        f"{percent(mean_rate(bits))} (standard errors of the paired difference)"
    )
    return raised_above(NAME, most, STANDARD_ERRORS, detail)


def _chosen_from(entry: Entry) -> list[tuple[str, tuple[str, ...]]]:
    """Outcomes of single draws, as published, of each counting row and each column that counts throughout."""
    n = len(entry.per_image.indices)
    counting = [row for row in entry.attacks if row.counts and row.outcomes]
    found = [(row.id, row.outcomes) for row in counting if row.column is not Column.CLEAN]
    clean = Rows(entry).clean
    for column in Column:
        family = entry.family(column)
        rows = [row for row in counting if row.column is column]
        if family and family.rates and len(rows) == len(family.rows) > 1:
            candidates = [*clean, *((row.id, row.scores) for row in rows)]
            found.append((f"column {column}", choose(candidates, Rule.SINGLE, n).bits))
    return found


def _errors(worst: Sequence[str], bits: Sequence[str]) -> float:
    """By how many standard errors the mean of the one is above that of the other, image by image.

    The error is the greater of what the images' differences show and of what so many draws give; an image that
    is right in k of n draws counts there with (k + 1) / (n + 2), so that no error is 0 (Laplace's rule).
    """
    pairs = [(mean_rate([a]), mean_rate([b])) for a, b in zip(worst, bits, strict=True)]
    n, draws = len(pairs), len(worst[0])
    mean = math.fsum(a - b for a, b in pairs) / n
    spread = math.fsum((a - b - mean) ** 2 for a, b in pairs) / max(1, n - 1)
    smooth = [(share * draws + 1) / (draws + 2) for pair in pairs for share in pair]
    drawn = math.fsum(share * (1 - share) for share in smooth) / (n * draws)
    return round(mean / math.sqrt(max(spread, drawn) / n), 9)
