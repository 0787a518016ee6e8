"""The protocol of an entry: the published version that it names, or the one that it holds itself; no torch."""

from __future__ import annotations

from pydantic import ValidationError

from benchmark.records.entry import Entry
from benchmark.records.protocol import Protocol
from benchmark.records.protocol_files import protocol_names, published


def protocol_of(entry: Entry) -> Protocol | None:
    """The protocol that an entry was made under, for its task; None where it is not known."""
    named = entry.protocol
    if named.name in protocol_names():
        content, classes = named.content_sha256, entry.dataset.classes or 0
        return published(named.name, named.sha256, content=content, classes=classes)
    own = _held(entry)
    return own if own and (own.name, own.sha256()) == (named.name, named.sha256) else None


def _held(entry: Entry) -> Protocol | None:
    """The protocol that the entry holds, read; None where it holds none that can be read."""
    try:
        return Protocol.model_validate(entry.protocol.content)
    except (ValidationError, RecursionError):
        return None
