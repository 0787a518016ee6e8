"""Standing: whether an entry may have a rank, and why not; pure, no torch."""

from __future__ import annotations

from benchmark.protocol import protocol_names
from benchmark.publishing.entry import Entry

LEGACY = "made under schema 1, from which nothing can be recomputed; made again by its command, it is ranked"
UNBOUND = "its protocol neither ships with the project nor stands in the entry"

REFUTED = "an audit contradicts it: of its own images its victim says otherwise"


def why_unranked(entry: Entry) -> tuple[str, ...]:
    """Short reasons for which an entry has no rank; empty where it is ranked."""
    reasons = []
    if entry.is_legacy:
        reasons.append(LEGACY)
    elif entry.protocol.content is None and entry.protocol.name not in protocol_names():
        reasons.append(UNBOUND)
    if entry.audit is not None and entry.audit.replayed.contradicted:
        reasons.append(REFUTED)
    return tuple(reasons)
