"""Assembly: a finished run becomes an entry; what is missing becomes a named gap, never robustness."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict

from benchmark.criterion import Rule
from benchmark.evaluated import Evaluated
from benchmark.job import MIXED, Job, Plugin
from benchmark.publishing.diagnosis import diagnosis_records, eps_curve
from benchmark.publishing.diagnosis_records import Examined
from benchmark.publishing.entry import SCHEMA_VERSION, Entry, PerImage
from benchmark.publishing.flags import flags_of
from benchmark.publishing.gathered import Gathered
from benchmark.publishing.identity import (
    Asked,
    ClassifierIdentity,
    DatasetIdentity,
    DefenseIdentity,
    ProtocolIdentity,
    Stage,
    ThreatIdentity,
)
from benchmark.publishing.measured import choices, choose, rates
from benchmark.trained import Provenance


def assemble(evaluated: Evaluated) -> Entry:
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
    entry = _unflagged(evaluated, Gathered.of(evaluated))
    return entry.model_copy(update={"flags": flags_of(entry)})


def _unflagged(evaluated: Evaluated, made: Gathered) -> Entry:
    return Entry(
        schema_version=SCHEMA_VERSION,
        status="gaps" if made.gaps else "complete",
        gaps=made.gaps,
        not_applicable=made.not_applicable,
        stand_ins=made.stand_ins,
        preliminary=_is_preliminary(evaluated),
        protocol=_protocol(evaluated),
        defense=_defense(evaluated, made.job),
        classifier=_classifier(made.job),
        dataset=_dataset(evaluated, made),
        threat=_threat(evaluated, made.job),
        criterion=_asked(made.job),
        seed=made.job.seed,
        precision=_precision(evaluated),
        key_version=made.job.key_version,
        clean=rates(made.clean) if made.clean else None,
        columns=made.columns(),
        worst=rates(made.counting()) if made.clean else None,
        undefended=made.undefended(),
        flags=(),
        cost=made.cost(),
        attacks=tuple(made.record(measured) for measured in made.attacks),
        sources=tuple(made.record(measured) for measured in made.sources),
        per_image=_per_image(evaluated, made),
        command=evaluated.command,
        environment=dict(evaluated.environment),
        diagnosis=diagnosis_records(made),
        eps_curve=eps_curve(made),
        examination=tuple(Examined(**asdict(found)) for found in evaluated.examination),
    )


def _is_preliminary(evaluated: Evaluated) -> bool:
    asked = evaluated.protocol.samples
    return evaluated.protocol.preliminary or (
        asked is not None and len(evaluated.subject.indices) < asked
    )


def _precision(evaluated: Evaluated) -> str:
    """`mixed` where any job is: the others of such a run are float32's own."""
    found = {row.job.precision for row in evaluated.rows}
    return MIXED if MIXED in found else evaluated.rows[0].job.precision


def _protocol(evaluated: Evaluated) -> ProtocolIdentity:
    protocol = evaluated.protocol
    return ProtocolIdentity(
        name=protocol.name,
        version=protocol.version,
        sha256=protocol.sha256(),
        samples=protocol.samples,
    )


def _defense(evaluated: Evaluated, job: Job) -> DefenseIdentity:
    subject = evaluated.subject
    training = subject.training or (None,) * len(job.defenses)
    return DefenseIdentity(
        label=subject.label,
        stages=tuple(map(_stage, job.defenses, training)),
        gradient=str(subject.gradient),
        stochastic=subject.is_stochastic,
        add_on=subject.is_add_on,
    )


def _stage(plugin: Plugin, training: Provenance | None) -> Stage:
    return Stage(
        plugin=plugin.path,
        label=plugin.label,
        arguments=json.loads(plugin.arguments),
        source_sha256=plugin.source,
        weights_sha256=plugin.weights,
        training=training,
    )


def _classifier(job: Job) -> ClassifierIdentity:
    found = job.classifier
    return ClassifierIdentity(name=found.name, sha256=found.sha256, source_sha256=found.code)


def _asked(job: Job) -> Asked:
    asked = job.criterion
    return Asked(draws=asked.draws, vote=asked.vote, any_of=asked.any_of)


def _dataset(evaluated: Evaluated, made: Gathered) -> DatasetIdentity:
    subject = evaluated.subject
    pixels = [result.pixels_sha256 for row in made.clean[:1] for result in row.finished]
    return DatasetIdentity(
        name=made.job.dataset,
        split=subject.split,
        n=len(subject.indices),
        indices_sha256=_sha256(str(index) for index in subject.indices),
        pixels_sha256=_sha256(pixels) if pixels else "",
        order="robustbench" if made.job.order == "robustbench" else "nested",
        preparation=made.job.preparation,
        classes=evaluated.subject.classes,
        only_classes=made.job.only_classes,
    )


def _sha256(words: Iterable[str]) -> str:
    return hashlib.sha256(",".join(words).encode()).hexdigest()


def _threat(evaluated: Evaluated, job: Job) -> ThreatIdentity:
    return ThreatIdentity(
        norm=job.threat.norm.value,
        eps=job.threat.eps,
        text=str(job.threat),
        input_shape=evaluated.subject.shape,
    )


def _per_image(evaluated: Evaluated, made: Gathered) -> PerImage:
    clean = choose(made.clean, Rule.SINGLE) if made.clean else None
    worst = choose(made.counting(), Rule.SINGLE) if made.clean else None
    return PerImage(
        indices=evaluated.subject.indices,
        labels=evaluated.subject.labels,
        clean=clean.bits if clean else (),
        worst=worst.bits if worst else (),
        chosen=worst.rows if worst else (),
        choices=choices(made.counting()) if worst and evaluated.subject.is_stochastic else None,
    )
