"""Standing: why an entry has no rank, though it has a number; pure, no torch."""

from __future__ import annotations

from benchmark.publishing.diagnosis_flags import EXAMINED
from benchmark.publishing.entry import Entry
from benchmark.publishing.signs import raised_above


def why_unranked(entry: Entry) -> tuple[str, ...]:
    """Short reasons for which an entry is not ranked; none where it is.

    A declaration that was measured to be wrong takes the rank, and so does one that could not be measured: a
    plugin that breaks down while it is looked at is not believed. What does not apply, such as the gradient of
    a purifier that declares none, is measured as right.
    """
    reasons = []
    for flag, kinds in EXAMINED.items():
        found = [each for each in entry.examination if each.id in kinds]
        measured = [each for each in found if each.value is not None and each.threshold is not None]
        if any(
            raised_above(flag, e.value or 0.0, e.threshold or 0.0, "").verdict == "raised"
            for e in measured
        ):
            reasons.append(flag)
        elif len(measured) < len(found):
            reasons.append(f"{flag} could not be checked")
    return tuple(reasons)
