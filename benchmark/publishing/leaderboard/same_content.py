"""Sameness: whether one entry is another, run again; pure, no torch."""

from __future__ import annotations

import json

from benchmark.records.entry import Entry


def has_content_of(entry: Entry, other: Entry, *, at_any_seed: bool = False) -> bool:
    """Whether one entry is the other, run again: all that decides its numbers is the same.

    Hashes of source that were made by other versions of the key say nothing about each other.

    Args:
        entry: The one.
        other: The other.
        at_any_seed: Whether their seeds may differ.
    """
    left_out = {"source"} if entry.key_version != other.key_version else set()
    left_out |= {"seed"} if at_any_seed else set()
    ours, theirs = (content_of(each, without=left_out) for each in (entry, other))
    pixels = {entry.dataset.pixels_sha256, other.dataset.pixels_sha256}
    # an entry whose clean row is a gap has no hash
    return ours == theirs and len(pixels - {""}) < 2


def content_of(entry: Entry, *, without: set[str] | frozenset[str] = frozenset()) -> str:
    """What decides an entry's numbers, but for the pixels, as text; `without` names `source` or `seed`."""
    source = {"source_sha256", "content_sha256"} if "source" in without else set()
    left_out = {"training", *source}
    stages = [stage.model_dump(mode="json", exclude=left_out) for stage in entry.defense.stages]
    seed = None if "seed" in without else entry.seed
    return json.dumps(
        [
            [entry.defense.label, stages],
            entry.classifier.model_dump(mode="json", exclude=source),
            entry.dataset.model_dump(mode="json", exclude={"pixels_sha256", "classes"}),
            [entry.threat.norm, entry.threat.eps, entry.threat.input_shape],
            [entry.protocol.name, entry.protocol.version, entry.protocol.sha256],
            [entry.criterion.model_dump(), seed, entry.precision],
        ],
        sort_keys=True,
    )
