"""Validation: whether an entry is what its own measurements make of it, and they are plausible; no torch."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Callable, Iterator
from typing import Any

from benchmark.engine.threat import Threat
from benchmark.errors import BenchError
from benchmark.records.entry import Entry
from benchmark.records.entry_boundary import failure_of
from benchmark.records.entry_files import short
from benchmark.records.protocol_files import protocol_names
from benchmark.records.rates import ROUNDING
from benchmark.scoring.asked_rows import problems_of_rows
from benchmark.scoring.audit_figures import problems_of_audit
from benchmark.scoring.derived import derived, protocol_of
from benchmark.scoring.flags import flags_of
from benchmark.scoring.legacy import LEGACY_CHECKS
from benchmark.scoring.plausibility import problems_of_scores

_HASH = re.compile(r"[0-9a-f]{64}")
MOST_SAID = 40
"""Differences of one entry that are told, at the most."""


def problems_of(entry: Entry) -> list[str]:
    """What does not agree in an entry, one line each; empty where everything does.

    What reading an entry refuses (fields missing or unknown, rates that are not the mean of their outcomes,
    gaps that are not named) is not looked at again.
    """
    found: list[str] = []
    own = LEGACY_CHECKS if entry.is_legacy else RECOMPUTED_CHECKS
    why = failure_of(
        lambda: found.extend(said for check in (*CHECKS, *own) for said in check(entry))
    )
    return [*found, f"it cannot be checked to its end: {why}"] if why else found


def notes_of(entry: Entry) -> list[str]:
    """What a reader should know though nothing is wrong, one line each."""
    notes = []
    if entry.is_legacy:
        notes.append(
            "made under schema 1, from which nothing can be recomputed: it has no rank until its command is "
            "run again"
        )
    younger = [flag.id for flag in flags_of(entry) if flag.id not in {f.id for f in entry.flags}]
    if younger:
        notes.append(f"made before these flags: {', '.join(younger)}; run its command again")
    if entry.protocol.name not in protocol_names():
        return [*notes, f"protocol {entry.protocol.name!r} does not ship with the project"]
    return notes


def _derived(entry: Entry) -> Iterator[str]:
    """Each value that follows from others, made anew from those alone."""
    made = derived(entry, protocol_of(entry))
    found = _differences("", entry.model_dump(mode="json"), made.model_dump(mode="json"))
    for i, said in enumerate(found):
        if i < MOST_SAID:
            yield said


def _differences(place: str, said: Any, made: Any) -> Iterator[str]:
    """Where two JSON values differ, by more than another machine's rounding."""
    if isinstance(said, dict) and isinstance(made, dict) and said.keys() == made.keys():
        for key in said:
            yield from _differences(f"{place}.{key}" if place else key, said[key], made[key])
    elif isinstance(said, list) and isinstance(made, list) and len(said) == len(made):
        for i, (one, other) in enumerate(zip(said, made, strict=True)):
            yield from _differences(f"{place}.{i}", one, other)
    elif not _is_same(said, made):
        yield f"{place} is {short(said, 60)}, and what it follows from makes it {short(made, 60)}"


def _is_same(said: Any, made: Any) -> bool:
    if isinstance(said, float) and isinstance(made, float):
        return math.isclose(said, made, rel_tol=ROUNDING, abs_tol=ROUNDING)
    return type(said) is type(made) and bool(said == made)


def _hashes(entry: Entry) -> Iterator[str]:
    if len(set(entry.per_image.indices)) != entry.dataset.n:
        yield "per_image.indices names an image twice"
    rows = (*entry.attacks, *entry.sources)
    named = {
        "protocol.sha256": entry.protocol.sha256,
        "classifier.sha256": entry.classifier.sha256,
        "dataset.pixels_sha256": entry.dataset.pixels_sha256 or ("" if entry.clean else "0" * 64),
        **{f"{row.id}: job_key": row.job_key for row in rows},
        **{f"{row.id}: source_sha256": row.source_sha256 for row in rows},
        **{f"{stage.label}: source_sha256": stage.source_sha256 for stage in entry.defense.stages},
        **{
            f"{stage.label}: weights_sha256": stage.weights_sha256 or "0" * 64
            for stage in entry.defense.stages
        },
    }
    for name, value in named.items():
        if not _HASH.fullmatch(value):
            yield f"{name} is no sha256 in hex: {value[:20]!r}"


def _threat(entry: Entry) -> Iterator[str]:
    try:
        threat = Threat.parse(entry.threat.text)
    except BenchError as error:
        yield f"threat.text: {error}"
        return
    if threat.norm != entry.threat.norm or not math.isclose(threat.eps, entry.threat.eps):
        yield f"threat.text says {threat}, its fields {entry.threat.norm} {entry.threat.eps}"


def _command(entry: Entry) -> Iterator[str]:
    try:
        words = shlex.split(entry.command)
    except ValueError as error:
        yield f"command cannot be read: {error}"
        return
    if words[:2] != ["bench", "run"]:
        yield f"command is no bench run: {entry.command[:40]!r}"


def problems_of_examples(entry: Entry) -> Iterator[str]:
    """What examples say that their entry does not, one line each."""
    if entry.examples is None:
        return
    images, shown = entry.per_image, entry.examples
    if shown.tile != entry.threat.input_shape[1:]:
        yield f"examples.tile is {shown.tile}, and images are {entry.threat.input_shape[1:]}"
    names = {row.id for row in entry.attacks}
    for example in shown.rows:
        if example.attack not in names:
            yield f"examples: {example.attack!r} is no attack of the entry"
        if example.index not in images.indices or not images.clean:
            yield f"examples: image {example.index} is none of the entry's"
            continue
        at = images.indices.index(example.index)
        challenged = images.chosen[at] not in names
        said = [example.predicted_clean == example.label, example.label == images.labels[at]]
        if said != [images.clean[at][0] == "1", True]:
            yield f"examples: image {example.index} has another label, or another clean outcome"
        is_right = example.predicted_adversarial == example.label
        made = (images.chosen[at], images.worst[at][0] == "1")
        if not challenged and (example.attack, is_right) != made:
            yield f"examples: image {example.index} has another worst case"


CHECKS: tuple[Callable[[Entry], Iterator[str]], ...] = (
    problems_of_rows,
    _hashes,
    _threat,
    _command,
    problems_of_examples,
    problems_of_audit,
)
RECOMPUTED_CHECKS: tuple[Callable[[Entry], Iterator[str]], ...] = (_derived, problems_of_scores)
