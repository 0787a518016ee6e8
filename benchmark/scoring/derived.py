"""Derived values: all of an entry that follows from what was measured, by one pure function.

Entries are made by it, and `bench validate` makes each anew by it: what differs was changed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any

from pydantic import ValidationError

from benchmark.engine.criterion import Rule
from benchmark.engine.threat import NamedSet, Norm, Threat
from benchmark.errors import BenchError
from benchmark.records.entry import Entry, Gap
from benchmark.records.identity import Asked
from benchmark.records.missing_rows import StandIn, Why
from benchmark.records.protocol import Protocol
from benchmark.records.protocol_files import protocol_names, published
from benchmark.records.protocol_rows import Faced
from benchmark.records.rates import WorstClass
from benchmark.scoring.challenge_chain import choices_of, settled, with_challenges_of
from benchmark.scoring.choice import choose, choose_all, rates, rates_of, worst_class
from benchmark.scoring.derived_rows import Rows
from benchmark.scoring.flags import flags_of

NO_JOB = "the protocol asks for it; no job did it"


def derived(entry: Entry, protocol: Protocol | None) -> Entry:
    """An entry with each value that follows from others made anew; of those, only the others are read.

    Args:
        entry: Of schema 2; nothing is checked.
        protocol: The one that it names, for its task; None where that is not known, so that what follows from
            it stays as it is.

    Raises:
        ValueError: Its rows do not have the images that they must.
    """
    missing = list(missing_rows(entry, protocol))
    gaps = tuple(gap for gap in missing if not gap.why.is_not_applicable)
    excused = tuple(gap for gap in missing if gap.why.is_not_applicable)
    entry = entry.model_copy(update={"gaps": gaps, "not_applicable": excused})
    rows, indices = Rows(entry, protocol), entry.per_image.indices
    made = entry.model_copy(
        update={
            "status": "gaps" if gaps else "complete",
            **(_of_protocol(entry, protocol) if protocol else {}),
            "dataset": entry.dataset.model_copy(
                update={"n": len(indices), "indices_sha256": sha256_of(indices)}
            ),
            "threat": entry.threat.model_copy(update={"text": _threat_text(entry)}),
            "columns": rows.columns(),
            "undefended": rows.undefended(),
            "cost": rows.cost(),
            "attacks": tuple(map(rows.record, entry.attacks)),
            "sources": tuple(map(rows.record, entry.sources)),
            "diagnosis": tuple(map(rows.diagnosis, entry.diagnosis)),
            "eps_curve": rows.eps_curve(),
            **_worst_case(entry, rows),
        }
    )
    return made.model_copy(update={"flags": flags_of(made)})


def protocol_of(entry: Entry) -> Protocol | None:
    """The protocol that an entry was made under, for its task: the published version that it names, or its own.

    None where it is neither published nor held by the entry.
    """
    named, classes = entry.protocol, entry.dataset.classes or 0
    if named.name in protocol_names():
        return published(named.name, named.sha256, content=named.content_sha256, classes=classes)
    try:
        own = Protocol.model_validate(named.content)
    except (ValidationError, RecursionError):
        return None
    return own if (own.name, own.sha256()) == (named.name, named.sha256) else None


def missing_rows(entry: Entry, protocol: Protocol | None) -> Iterator[Gap]:
    """All rows without numbers: those that could not be planned, are in no plan, failed, or are not whole.

    Every row that the protocol asks for is measured or stands here; `Why.is_not_applicable` tells which of
    these are no gaps. Why one could not be planned is measured; all else follows.
    """
    records = (*entry.attacks, *entry.sources)
    ids = {row.id for row in records}
    columns = {row.id: row.column for row in protocol.attacks} if protocol else {}
    known = {row.id for row in protocol.rows} if protocol else set()
    stated = [
        gap
        for gap in (*entry.gaps, *entry.not_applicable)
        if gap.row not in ids
        and (protocol is None or (gap.row in known and gap.why is not Why.FAILED))
    ]
    for gap in stated:
        column = columns.get(gap.row) if protocol else gap.column
        yield gap.model_copy(update={"column": column})
    planned = {base_of(name) for name in (*ids, *(gap.row for gap in stated))}
    asked = Faced.of(entry.defense).rows(protocol) if protocol else []
    for row in asked:
        if row.id not in planned:
            yield Gap(row=row.id, column=row.column, reason=NO_JOB)
    for record in records:
        if record.status == "gap":
            yield Gap(row=record.id, column=record.column, reason=record.error)


def base_of(name: str) -> str:
    """The protocol's id of a row: without the gradient mode or the classifier behind it."""
    return name.partition(":")[0]


def _of_protocol(entry: Entry, protocol: Protocol) -> dict[str, Any]:
    samples, n = protocol.samples, len(entry.per_image.indices)
    planned = {base_of(row.id) for row in (*entry.attacks, *entry.sources)}
    asked = protocol.criterion if entry.defense.stochastic else Asked(draws=1, vote=1, any_of=1)
    return {
        "preliminary": protocol.preliminary or (samples is not None and n < samples),
        "protocol": entry.protocol.model_copy(
            update={
                "version": protocol.version,
                "samples": samples,
                "content_sha256": protocol.content_sha256(),
            }
        ),
        "criterion": asked,
        "stand_ins": tuple(
            StandIn(row=row.id, arguments=row.few_classes.arguments, below=row.few_classes.below)
            for row in protocol.rows
            if row.few_classes is not None and row.id in planned
        ),
    }


def sha256_of(items: Iterable[object]) -> str:
    """Of items as text with commas between, hex."""
    return hashlib.sha256(",".join(map(str, items)).encode()).hexdigest()


def _threat_text(entry: Entry) -> str:
    """The threat as its fields say it; empty where there is none such."""
    norm = entry.threat.norm
    try:
        return str(Threat(Norm(norm) if norm in tuple(Norm) else NamedSet(norm), entry.threat.eps))
    except (BenchError, ValueError):
        return ""


def _worst_case(entry: Entry, rows: Rows) -> dict[str, Any]:
    """Clean accuracy and the worst case, less what challenges took from it; none without a whole clean row."""
    images, n = entry.per_image, len(entry.per_image.indices)
    if not rows.clean:
        nothing = {"clean": (), "worst": (), "chosen": (), "choices": None}
        per_image = images.model_copy(update=nothing)
        none = dict.fromkeys(("clean", "worst", "worst_class"))
        return {**none, "challenges": (), "per_image": per_image}
    start = choose_all(rows.counting(), n)
    if not entry.defense.stochastic:
        # where two images are both wrong, or both right, the entry's own stays
        start = {rule: settled(found.rows, found.bits) for rule, found in start.items()}
    standing, challenges = with_challenges_of(entry.challenges, start)
    per_image = images.model_copy(
        update={
            "clean": choose(rows.clean, Rule.SINGLE, n).bits,
            "worst": standing[Rule.SINGLE].bits,
            "chosen": standing[Rule.SINGLE].rows,
            "choices": choices_of(standing) if entry.defense.stochastic else None,
        }
    )
    return {
        "clean": rates(rows.clean, n),
        "worst": rates_of(standing),
        "worst_class": WorstClass(
            clean=worst_class(images.labels, per_image.clean),
            worst=worst_class(images.labels, per_image.worst),
        ),
        "challenges": challenges,
        "per_image": per_image,
    }


def validated(entry: Entry) -> Entry:
    """The same, held to all that an entry must hold when it is read.

    Raises:
        pydantic.ValidationError: It does not.
    """
    return Entry.model_validate(entry.model_dump())
