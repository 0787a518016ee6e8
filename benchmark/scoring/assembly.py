"""Assembly: a finished run becomes an entry; what is missing becomes a named gap, never robustness."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict
from itertools import chain

from benchmark.records.diagnosis import Examined
from benchmark.records.entry import SCHEMA_VERSION, Entry
from benchmark.records.entry_parts import Columns, PerImage, Undefended
from benchmark.records.environments import made_with, shared
from benchmark.records.identity import (
    Asked,
    ClassifierIdentity,
    DatasetIdentity,
    DefenseIdentity,
    ProtocolIdentity,
    Stage,
    ThreatIdentity,
)
from benchmark.records.job import MIXED, Job, PluginId
from benchmark.records.protocol import Column
from benchmark.records.protocol_files import protocol_names
from benchmark.records.provenance import Provenance
from benchmark.records.rates import Cost
from benchmark.records.run import Run
from benchmark.records.task import Task
from benchmark.scoring.derived import derived, validated
from benchmark.scoring.rows import ScoredRows, diagnosis_of, record_of, skipped_rows

NOTHING = Cost(forwards_per_image=0.0, backwards_per_image=0.0, seconds_per_image=0.0)
NO_COLUMNS = Columns(oblivious=None, autoattack=None, adaptive=None, auxiliary=None, transfer=None)


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
    made = ScoredRows.of(evaluated)
    entry = _measured(evaluated, made)
    return validated(derived(entry, evaluated.protocol))


def _measured(evaluated: Run, made: ScoredRows) -> Entry:
    """The entry with all that was measured; what `derived` makes of it is left open."""
    environments = made_with(chain.from_iterable(evaluated.results.values()))
    return Entry.model_construct(
        schema_version=SCHEMA_VERSION,
        status="complete",
        gaps=tuple(skipped_rows(evaluated)),
        not_applicable=(),
        preliminary=False,
        protocol=_protocol(evaluated),
        defense=_defense(evaluated, made.job),
        classifier=_classifier(made.job),
        dataset=_dataset(evaluated, made),
        threat=_threat(evaluated.task),
        criterion=_asked(made.job),
        seed=evaluated.task.seed,
        precision=_precision(evaluated),
        key_version=made.job.key_version,
        clean=None,
        columns=NO_COLUMNS,
        worst=None,
        undefended=Undefended(clean=None, oblivious=None),
        flags=(),
        cost=NOTHING,
        attacks=tuple(map(record_of, made.attacks)),
        sources=tuple(map(record_of, made.sources)),
        per_image=PerImage(
            indices=evaluated.indices, labels=evaluated.labels, clean=(), worst=(), chosen=()
        ),
        command=evaluated.command,
        identity=evaluated.task.identity,
        environment=shared(environments),
        environments=environments,
        diagnosis=tuple(map(diagnosis_of, made.diagnosis)),
        examination=tuple(Examined(**asdict(found)) for found in evaluated.examination),
    )


def _precision(evaluated: Run) -> str:
    """`mixed` where any job is: the others of such a run are float32's own."""
    found = {row.job.task.precision for row in evaluated.rows}
    return MIXED if MIXED in found else evaluated.rows[0].job.task.precision


def _protocol(evaluated: Run) -> ProtocolIdentity:
    protocol = evaluated.protocol
    return ProtocolIdentity(
        name=protocol.name,
        version=protocol.version,
        sha256=protocol.sha256(),
        samples=protocol.samples,
        content_sha256=protocol.content_sha256(),
        content=None if protocol.name in protocol_names() else protocol.content(),
    )


def _defense(evaluated: Run, job: Job) -> DefenseIdentity:
    training = evaluated.training or (None,) * len(job.defenses)
    return DefenseIdentity(
        label=evaluated.label,
        stages=tuple(map(_stage, job.defenses, training)),
        gradient=str(evaluated.gradient),
        stochastic=evaluated.is_stochastic,
        add_on=evaluated.is_add_on,
    )


def _stage(plugin: PluginId, training: Provenance | None) -> Stage:
    return Stage(
        plugin=plugin.path,
        label=plugin.label,
        arguments=json.loads(plugin.arguments),
        source_sha256=plugin.source,
        weights_sha256=plugin.weights,
        content_sha256=plugin.content,
        training=training,
    )


def _classifier(job: Job) -> ClassifierIdentity:
    found = job.classifier
    return ClassifierIdentity(name=found.name, sha256=found.sha256, source_sha256=found.code)


def _asked(job: Job) -> Asked:
    asked = job.criterion
    return Asked(draws=asked.draws, vote=asked.vote, any_of=asked.any_of)


def _dataset(evaluated: Run, made: ScoredRows) -> DatasetIdentity:
    task = evaluated.task
    clean = [row for row in made.attacks if row.row.column is Column.CLEAN]
    is_whole = not any(row.gap for row in clean)
    pixels = [each.pixels_sha256 for row in clean[:1] if is_whole for each in row.finished]
    return DatasetIdentity(
        name=task.dataset,
        split=task.split,
        n=len(evaluated.indices),
        indices_sha256=_sha256(str(index) for index in evaluated.indices),
        pixels_sha256=_sha256(pixels) if pixels else "",
        order="robustbench" if task.order == "robustbench" else "nested",
        preparation=task.preparation,
        classes=task.classes,
        only_classes=task.only_classes,
    )


def _sha256(words: Iterable[str]) -> str:
    return hashlib.sha256(",".join(words).encode()).hexdigest()


def _threat(task: Task) -> ThreatIdentity:
    return ThreatIdentity(
        norm=task.threat.norm.value,
        eps=task.threat.eps,
        text=str(task.threat),
        input_shape=task.shape,
    )
