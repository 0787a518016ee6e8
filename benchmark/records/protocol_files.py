"""Protocols on disk: those that ship, every version that ever did, and files of the user."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from benchmark.errors import BenchError, did_you_mean, near, unknown
from benchmark.files.parsing import read_model
from benchmark.records.protocol import Protocol

FOLDER = Path(__file__).parent.parent / "protocols"


def protocol_names() -> list[str]:
    """The protocols that ship with the project."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def load_protocol(text: str) -> Protocol:
    """A protocol by name, or from a YAML file where `text` ends in .yaml or .yml.

    Raises:
        BenchError: There is none of that name, or the file is missing, not YAML, or says what no protocol may.
    """
    names = protocol_names()
    if text in names:
        path = FOLDER / f"{text}.yaml"
    elif text.endswith((".yaml", ".yml")):
        path = Path(text)
    else:
        beside = [
            f"{text}{suffix}" for suffix in (".yaml", ".yml") if Path(f"{text}{suffix}").is_file()
        ]
        raise unknown("protocol", text, [*names, *beside])
    if not path.is_file():
        beside = [one.name for one in path.parent.glob("*.y*ml")]
        likely = [str(path.with_name(name)) for name in near(path.name, beside)]
        raise BenchError(
            f"no protocol file at {text!r}; expected a YAML file, or one of: {', '.join(names)}."
            f"{did_you_mean(likely or near(path.stem, names))}"
        )
    return parse_protocol(path.read_bytes(), where=str(path))


def parse_protocol(content: bytes, *, where: str) -> Protocol:
    """A protocol from the bytes of its YAML.

    Raises:
        BenchError: They are too long, no plain YAML, or say what no protocol may.
    """
    return read_model(content, Protocol, where=where)


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
