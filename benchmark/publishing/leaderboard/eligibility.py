"""Standing: whether an entry may have a rank, and why not; pure, no torch."""

from __future__ import annotations

from collections.abc import Iterator

from benchmark.records.entry import Entry
from benchmark.records.protocol_files import protocol_names
from benchmark.scoring.context_flag import is_context_missing, verdict_unlike_attack
from benchmark.scoring.diagnosis_flags import EXAMINED
from benchmark.scoring.flag_parts import Measured, raised_above

LEGACY = "made under schema 1, from which nothing can be recomputed; made again by its command, it is ranked"
UNBOUND = "its protocol neither ships with the project nor stands in the entry"
CONTRADICTED = "an audit contradicts it: of its own images its victim says otherwise"


def why_unranked(entry: Entry) -> tuple[str, ...]:
    """Short reasons for which an entry is not ranked, though it has a number; none where it is.

    One whose victim answers otherwise while it is attacked is not.
    A declaration that was measured to be wrong takes the rank, and so does one that could not be measured: a
    plugin that breaks down while it is looked at is not believed. What does not apply, such as the gradient of
    a purifier that declares none, is measured as right.
    """
    if entry.is_legacy:
        return (LEGACY,)
    is_bound = entry.protocol.content is not None or entry.protocol.name in protocol_names()
    contradicted = entry.audit is not None and entry.audit.replayed.contradicted
    return (
        *(() if is_bound else (UNBOUND,)),
        *((CONTRADICTED,) if contradicted else ()),
        *_refuted(entry),
        *_unlike_attack(entry),
    )


def _unlike_attack(entry: Entry) -> Iterator[str]:
    """The flag of a victim that was measured to know when it is attacked."""
    found = verdict_unlike_attack(entry)
    if isinstance(found, Measured) and found.is_raised:
        yield "verdict-unlike-attack"
    elif is_context_missing(entry):
        yield "verdict-unlike-attack could not be checked"


def _refuted(entry: Entry) -> Iterator[str]:
    """The flags of declarations that were measured to be wrong, or that were not, or could not be, measured."""
    for flag, kinds in EXAMINED.items():
        measured = [
            each
            for each in entry.examination
            if each.id in kinds and each.value is not None and each.threshold is not None
        ]
        if any(raised_above(e.value or 0.0, e.threshold or 0.0, "").is_raised for e in measured):
            yield flag
        elif {each.id for each in measured} < set(kinds):
            yield f"{flag} could not be checked"
