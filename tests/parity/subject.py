"""What is attacked: images that an entry of `standard` calls robust, and the entry, where none is given."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from benchmark.engine.dataset import indices_of
from benchmark.errors import BenchError
from benchmark.evaluation.execute.evaluate import evaluate
from benchmark.evaluation.prepare.request import Request
from benchmark.evaluation.prepare.resolve import resolve
from benchmark.records.entry import Entry
from benchmark.records.entry_files import read_entry
from benchmark.records.protocol_files import load_protocol

PROTOCOL = "standard"
HALF = 0.5
"""An image is robust where it is right on at least so many of its draws; of a fixed victim there is one."""


def robust_in(entry: Entry, most: int) -> list[int]:
    """Positions in an entry of the first images that its worst case leaves robust.

    Raises:
        BenchError: It is of another protocol, or an attack of it is missing: an image that was not attacked is
            not robust.
    """
    if entry.protocol.name != PROTOCOL:
        raise BenchError(
            f"expected an entry of {PROTOCOL}; got one of {entry.protocol.name}: {entry.command}"
        )
    if entry.gaps or entry.worst is None:
        rows = ", ".join(gap.row for gap in entry.gaps)
        raise BenchError(f"not all attacks were run ({rows}); run again: {entry.command}")
    return [i for i, bits in enumerate(entry.per_image.worst) if rate(bits) >= HALF][:most]


def rate(bits: str) -> float:
    """The share of right outcomes."""
    return bits.count("1") / len(bits)


def evaluated(request: Request, wanted: int, samples: int | None) -> Entry:
    """The entry of `standard` on as many images as it takes until so many of them are robust.

    Finished shards are kept under `request.runs`, so that it resumes.

    Args:
        request: Defense, classifier, dataset and threat.
        wanted: How many robust images.
        samples: How many images at the most; None for the protocol's number.
    """
    protocol = load_protocol(PROTOCOL)
    dataset, _, _ = resolve(request)
    there = len(indices_of(dataset, "test", request.order))
    most = min(there, samples or protocol.samples or there)
    n = min(wanted, most)
    while True:
        entry = evaluate(options=replace(request, protocol=PROTOCOL, samples=n, keep_images="none"))
        found = len(robust_in(entry, wanted))
        print(f"{PROTOCOL}: {found} of {n} images are robust", file=sys.stderr, flush=True)
        if found >= wanted or n == most:
            return entry
        n = min(n + protocol.shard_size, most)


def subject_of(request: Request, *, entry: Path | None, wanted: int, samples: int | None) -> Entry:
    """The entry of a file, or that of a request."""
    return read_entry(entry) if entry else evaluated(request, wanted, samples)
