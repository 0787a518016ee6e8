"""Published protocols: every version of those that ship, so that an entry is held to the one that it names."""

from __future__ import annotations

from functools import cache

from benchmark.protocol import FOLDER, Protocol, load_protocol, parse_protocol, protocol_names

ARCHIVE = FOLDER / "archive"
"""Versions that ship no longer, as `<name>-v<version>-<first 8 digits of sha256>.yaml`."""
PUBLISHED = ARCHIVE / "published.txt"
"""A line for each version that ever shipped: its name, version, sha256 and content's sha256. A protocol that
changes gets another line here, and its former text a file of the archive."""


def published(name: str, sha256: str, *, content: str = "", classes: int = 0) -> Protocol | None:
    """A version of a protocol that ships or once did; None where there never was such a one.

    Args:
        name: The protocol's name.
        sha256: As `Protocol.sha256` gives it, for the task.
        content: The same of `Protocol.content_sha256`; empty where it is not known.
        classes: Of the task; 0 where they are not known.
    """
    for version in versions(name):
        found = version.for_classes(classes) if classes else version
        if found.sha256() == sha256 and content in ("", found.content_sha256()):
            return found
    return None


@cache
def versions(name: str) -> tuple[Protocol, ...]:
    """All versions of a protocol, the one that ships first; none where none of that name ever shipped."""
    if name not in protocol_names():
        return ()
    former = sorted(ARCHIVE.glob(f"{name}-v*.yaml"), reverse=True)
    read = (parse_protocol(path.read_bytes(), where=str(path)) for path in former)
    return (load_protocol(name), *(protocol for protocol in read if protocol.name == name))
