"""Plans made again: each row of an entry held to what the planner makes of its protocol for such a victim.

What a row costs at the most, how long its trace may be, and which arguments it has besides the protocol's own
are known to its attack alone; so this starts torch. Only attacks that are registered here are made.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache

from benchmark.audit.command_fields import problems_of_command
from benchmark.audit.local_images import problems_of_images
from benchmark.audit.possible_cost import Record, problems_of_spent
from benchmark.engine.threat import NamedSet, Norm, Threat
from benchmark.engine.victims.defense import Derivative
from benchmark.errors import BenchError
from benchmark.evaluation.prepare.plan import Plannable, make_plan, unasked
from benchmark.plugins import ATTACKS, DATASETS
from benchmark.records.entry import Entry
from benchmark.records.entry_boundary import failure_of
from benchmark.records.gradients import MeasuredGradients
from benchmark.records.job import KEY_VERSION, PluginId
from benchmark.records.missing_rows import Missing, Why
from benchmark.records.protocol import SURROGATES, Protocol
from benchmark.records.run import PlannedAttack
from benchmark.records.task import Task
from benchmark.scoring.derived import base_of, protocol_of
from benchmark.scoring.rows import planned_fields
from benchmark.scoring.validation import problems_of


def all_problems_of(entry: Entry) -> list[str]:
    """What is wrong with an entry, one line each: in itself, and beside its plan, command and dataset."""
    return [*problems_of(entry), *problems_of_run(entry)]


def problems_of_run(entry: Entry) -> list[str]:
    """What no run of the entry's command gives, one line each; nothing of an entry of schema 1."""
    if entry.is_legacy:
        return []
    found: list[str] = []
    if not 1 <= entry.key_version <= KEY_VERSION:
        found.append(
            f"key_version is {entry.key_version}; this version of purifybench knows 1 to {KEY_VERSION}"
        )
    checks = (problems_of_plan, problems_of_command, problems_of_images)
    why = failure_of(lambda: found.extend(said for check in checks for said in check(entry)))
    return [*found, f"its run cannot be checked to its end: {why}"] if why else found


def problems_of_plan(entry: Entry) -> Iterator[str]:
    """How its rows differ from those that are planned; nothing where an attack is not registered here."""
    protocol = protocol_of(entry)
    known = ATTACKS.names()
    if protocol is None or not all(row.attack in known for row in protocol.rows):
        return
    try:
        rows, skipped = _planned_for(entry, protocol)
    except BenchError as error:
        yield f"its protocol cannot be planned for such a victim: {error}"
        return
    attacks = [row for row in rows if row.column is not None]
    attacks.sort(key=lambda row: row.column != "clean")
    sources = [row for row in rows if row.column is None and row.diagnosis is None]
    diagnosis = [row for row in rows if row.diagnosis is not None]
    excused = {gap.row for gap in entry.gaps if gap.why in (Why.NO_SEED_IMAGES, Why.FAILED)}
    yield from _skipped(entry, skipped)
    yield from _rows("attacks", entry.attacks, attacks, excused)
    yield from _rows("sources", entry.sources, sources, excused)
    yield from _rows("diagnosis", entry.diagnosis, diagnosis, set())
    records: list[Record] = [*entry.attacks, *entry.sources, *entry.diagnosis]
    yield from _sources_of_code(records)
    planned = {row.id: row for row in rows}
    for record in records:
        if record.id in planned:
            yield from problems_of_spent(entry, protocol, record, planned[record.id].job)


def _planned_for(
    entry: Entry, protocol: Protocol
) -> tuple[list[PlannedAttack], dict[str, Missing]]:
    """The plan of a protocol for a victim as the entry's; none of it can be run."""
    on = {row.id: row.against for row in protocol.sources}
    made_on = {row.classifier: on.get(base_of(row.id), "") for row in entry.sources}
    surrogates = [name for name, text in made_on.items() if text == SURROGATES]
    norm = entry.threat.norm
    return _plan(
        protocol.model_dump_json(),
        Task(
            dataset=entry.dataset.name,
            classes=entry.dataset.classes or 2,
            shape=entry.threat.input_shape,
            threat=Threat(Norm(norm) if norm in tuple(Norm) else NamedSet(norm), entry.threat.eps),
            precision=entry.precision,
            seed=entry.seed,
        ),
        gradient=entry.defense.gradient,
        measured=entry.defense.measured,
        is_stochastic=entry.defense.stochastic,
        classifier=entry.classifier.name,
        stages=tuple(stage.label for stage in entry.defense.stages),
        surrogates=tuple(_known_surrogates(entry) or surrogates),
        ensembles=tuple((text, name) for name, text in made_on.items() if text not in _WORDS),
    )


@lru_cache(maxsize=64)
def _plan(
    protocol: str,
    task: Task,
    *,
    gradient: str,
    measured: MeasuredGradients | None,
    is_stochastic: bool,
    classifier: str,
    stages: tuple[str, ...],
    surrogates: tuple[str, ...],
    ensembles: tuple[tuple[str, str], ...],
) -> tuple[list[PlannedAttack], dict[str, Missing]]:
    """The plan of a protocol, given as its JSON, from names alone; made once for entries of one board."""
    return make_plan(
        Plannable(
            protocol=Protocol.model_validate_json(protocol),
            task=task,
            plugins=tuple(PluginId("", label, "{}", "") for label in stages),
            gradient=Derivative(gradient),
            measured=measured,
            is_stochastic=is_stochastic,
            classifier=unasked(classifier),
            surrogates={name: unasked(name) for name in surrogates},
            ensembles={text: unasked(name) for text, name in ensembles},
        )
    )


_WORDS = ("", "bare", SURROGATES)


def _known_surrogates(entry: Entry) -> list[str]:
    """Those of a dataset of this project before a classifier that is no ensemble; none where it is another."""
    if entry.dataset.name not in DATASETS.own() or "(" in entry.classifier.name:
        return []
    kind = DATASETS.get(entry.dataset.name)
    return [name for name in (*kind.surrogates, *kind.strangers) if name != entry.classifier.name]


def _skipped(entry: Entry, skipped: dict[str, Missing]) -> Iterator[str]:
    """Rows that cannot be planned are said to be so, with the reason; and no others are."""
    ids = {row.id for row in (*entry.attacks, *entry.sources)}
    stated = {
        gap.row: gap
        for gap in (*entry.gaps, *entry.not_applicable)
        if gap.row not in ids and gap.why is not Why.FAILED
    }
    for name, missing in skipped.items():
        gap = stated.pop(name, None)
        if gap is None:
            yield f"row {name} cannot be had of such a task ({missing}), and the entry does not say so"
        elif (gap.why, gap.reason) != (missing.why, missing.reason):
            yield f"row {name}: the entry says {gap.reason!r} ({gap.why}), expected {missing.reason!r}"
    for name, gap in stated.items():
        if gap.why is not Why.NO_SEED_IMAGES:
            yield f"row {name} can be had of such a task, and the entry says {gap.reason!r}"


def _rows(
    where: str, records: Iterable[Record], planned: list[PlannedAttack], excused: set[str]
) -> Iterator[str]:
    """The same rows in the same order, less those that are said to be missing; each as it is planned."""
    found = {record.id: record for record in records}
    wanted = [row for row in planned if row.id in found or base_of(row.id) not in excused]
    if list(found) != [row.id for row in wanted]:
        yield f"{where}: expected the rows {[row.id for row in wanted]}, got {list(found)}"
    for row in wanted:
        record = found.get(row.id)
        for name, value in planned_fields(row).items() if record else ():
            said = getattr(record, name)
            if said != value or type(said) is not type(value):
                yield f"{row.id}: {name} is {said!r}, and its protocol makes it {value!r}"


def _sources_of_code(records: Iterable[Record]) -> Iterator[str]:
    """One plugin has one source, one job one key, and another job another."""
    sources: dict[str, str] = {}
    for record in records:
        if sources.setdefault(record.plugin, record.source_sha256) != record.source_sha256:
            yield f"{record.id}: source_sha256 is another than that of {record.plugin} elsewhere"
