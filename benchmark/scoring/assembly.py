"""Assembly: a finished run becomes an entry; what is missing becomes a named gap, never robustness."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import chain

from benchmark.errors import BenchError
from benchmark.records.entry import SCHEMA_VERSION, Entry, Gap
from benchmark.records.entry_parts import PerImage
from benchmark.records.environments import made_with, shared
from benchmark.records.identity import (
    ClassifierIdentity,
    DatasetIdentity,
    DefenseIdentity,
    ProtocolIdentity,
    Stage,
    ThreatIdentity,
)
from benchmark.records.job import MIXED, Job
from benchmark.records.protocol import Column
from benchmark.records.protocol_files import protocol_names
from benchmark.records.run import Run
from benchmark.scoring.aggregate import RowResult, cut, gather
from benchmark.scoring.derived import base_of, derived, sha256_of, validated
from benchmark.scoring.rows import diagnosis_of, record_of, refuse_other_pixels


def assemble(evaluated: Run) -> Entry:
    """The entry of a finished run (DESIGN section 7).

    Under each rule, an image's worst case is *one* candidate, chosen on `select` draws over the clean image and
    every row that counts, and scored on `score` draws. A row that failed, lacks a shard or could not be planned
    is a gap: its column has no value and the entry is marked; images that such a row did finish still enter
    the worst case, since leaving them out would make the defense look stronger. Without a whole clean row there
    are no rates at all.

    Raises:
        BenchError: Nothing was planned, or rows met different images.
        ValueError: The results do not fit the plan (a bug of ours).
    """
    rows = list(_gathered(evaluated))
    refuse_other_pixels(row for row in rows if row.row.diagnosis is None)
    return validated(derived(_measured(evaluated, rows), evaluated.protocol))


def _gathered(evaluated: Run) -> Iterator[RowResult]:
    """All rows; those of the diagnosis, which are nobody's gap, on the first images alone."""
    if all(row.column is None for row in evaluated.rows):
        why = "; ".join(map(str, evaluated.skipped.values()))
        raise BenchError(
            f"expected at least one attack on {evaluated.label!r}; protocol "
            f"{evaluated.protocol.name!r} could plan none ({why})"
        )
    for row in evaluated.rows:
        n, shards = row.images(len(evaluated.indices)), evaluated.results.get(row.job.key, ())
        yield gather(row, cut(shards, n) if row.diagnosis else shards, n)


def _measured(evaluated: Run, rows: Sequence[RowResult]) -> Entry:
    """The entry with all that was measured; what `derived` makes of it is left out."""
    attacks = [row for row in rows if row.row.column is not None]
    attacks.sort(key=lambda row: row.row.column is not Column.CLEAN)
    sources = [row for row in rows if row.row.column is None and row.row.diagnosis is None]
    task, job = evaluated.task, attacks[0].row.job  # what the jobs on the victim have in common
    environments = made_with(chain.from_iterable(evaluated.results.values()))
    precisions = [row.row.job.task.precision for row in rows]
    return Entry.model_construct(
        schema_version=SCHEMA_VERSION,
        gaps=tuple(_skipped(evaluated)),
        protocol=_protocol(evaluated),
        defense=_defense(evaluated, job),
        classifier=ClassifierIdentity(
            name=job.classifier.name,
            sha256=job.classifier.sha256,
            source_sha256=job.classifier.code,
        ),
        dataset=_dataset(evaluated, attacks),
        threat=ThreatIdentity.model_construct(
            norm=task.threat.norm.value, eps=task.threat.eps, input_shape=task.shape
        ),
        seed=task.seed,
        precision=MIXED if MIXED in precisions else precisions[0],  # the others are float32's own
        key_version=job.key_version,
        attacks=tuple(map(record_of, attacks)),
        sources=tuple(map(record_of, sources)),
        per_image=PerImage.model_construct(indices=evaluated.indices, labels=evaluated.labels),
        command=evaluated.command,
        identity=task.identity,
        environment=shared(environments),
        environments=environments,
        diagnosis=tuple(diagnosis_of(row) for row in rows if row.row.diagnosis),
        examination=evaluated.examination,
    )


def _skipped(evaluated: Run) -> Iterator[Gap]:
    """The rows that could not be planned; `derived.missing_rows` adds those that failed or that no job did."""
    columns = {row.id: row.column for row in evaluated.protocol.attacks}
    for name, missing in evaluated.skipped.items():
        reason = missing.reason or "it could not be planned"
        yield Gap(row=name, column=columns.get(base_of(name)), why=missing.why, reason=reason)


def _protocol(evaluated: Run) -> ProtocolIdentity:
    protocol = evaluated.protocol
    return ProtocolIdentity.model_construct(
        name=protocol.name,
        sha256=protocol.sha256(),
        content=None if protocol.name in protocol_names() else protocol.content(),
    )


def _defense(evaluated: Run, job: Job) -> DefenseIdentity:
    training = evaluated.training or (None,) * len(job.defenses)
    return DefenseIdentity(
        label=evaluated.label,
        stages=tuple(
            Stage(
                plugin=plugin.path,
                label=plugin.label,
                arguments=json.loads(plugin.arguments),
                source_sha256=plugin.source,
                weights_sha256=plugin.weights,
                content_sha256=plugin.content,
                training=trained,
            )
            for plugin, trained in zip(job.defenses, training, strict=True)
        ),
        gradient=str(evaluated.gradient),
        stochastic=evaluated.is_stochastic,
        add_on=evaluated.is_add_on,
        measured=evaluated.measured,
    )


def _dataset(evaluated: Run, attacks: Sequence[RowResult]) -> DatasetIdentity:
    task = evaluated.task
    clean = [row for row in attacks if row.row.column is Column.CLEAN]
    is_whole = not any(row.gap for row in clean)
    pixels = [each.pixels_sha256 for row in clean[:1] if is_whole for each in row.finished]
    return DatasetIdentity.model_construct(
        name=task.dataset,
        split=task.split,
        pixels_sha256=sha256_of(pixels) if pixels else "",
        order=task.order,
        preparation=task.preparation,
        classes=task.classes,
        only_classes=task.only_classes,
    )
