"""Entries: what a leaderboard publishes for one defense, classifier, dataset, threat and protocol."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Final, Literal

from pydantic import Field, model_validator

from benchmark.files.schema import Strict, Words
from benchmark.records.audit import Audit, KeptImages
from benchmark.records.challenge import (
    Challenge,
    challenge_id,
    refuse_broken_chain,
    refuse_other_choices,
)
from benchmark.records.diagnosis import CurvePoint, DiagnosisRecord, Examined
from benchmark.records.entry_parts import AttackRecord, Columns, Family, Flag, PerImage, Undefended
from benchmark.records.environments import MadeWith, shared
from benchmark.records.examples import Examples
from benchmark.records.identity import (
    Asked,
    ClassifierIdentity,
    DatasetIdentity,
    DefenseIdentity,
    ProtocolIdentity,
    ThreatIdentity,
)
from benchmark.records.missing_rows import Gap as Gap
from benchmark.records.missing_rows import StandIn
from benchmark.records.protocol import FAMILIES, Column
from benchmark.records.rates import Cost, WorstClass, refuse_other_mean
from benchmark.records.rates import Rate as Rate
from benchmark.records.rates import Rates as Rates

SCHEMA_VERSION: Final = 2
"""Raised whenever a field is taken away or changes its meaning. A new field with a default raises nothing:
entries from before it are still read, as having none. Of schema 1, too, entries are read: they lack the scores
from which all else is made anew, so that nothing can be recomputed, and have no rank."""


class Entry(Strict):
    """One row of a leaderboard, with all that it stands on."""

    schema_version: Literal[1, 2]
    status: Literal["complete", "gaps"]
    gaps: tuple[Gap, ...]
    not_applicable: tuple[Gap, ...] = ()
    """Rows that cannot be had of such a task, whoever defends it: no gaps, and said on the board."""
    stand_ins: tuple[StandIn, ...] = ()
    """Rows whose arguments the protocol replaces where classes are few, such as DLR's by the margin loss."""
    preliminary: bool
    """Whether the protocol is a first look, or fewer images were taken than it asks for."""
    protocol: ProtocolIdentity
    defense: DefenseIdentity
    classifier: ClassifierIdentity
    dataset: DatasetIdentity
    threat: ThreatIdentity
    criterion: Asked
    seed: int
    precision: str
    key_version: int
    clean: Rates | None
    columns: Columns
    worst: Rates | None
    """The worst case; its twin under each rule is `clean` under that rule."""
    worst_class: WorstClass | None = None
    """None without a worst case, and in entries from before it was said."""
    undefended: Undefended
    flags: tuple[Flag, ...]
    cost: Cost
    """Of all rows, sources included, the diagnosis not."""
    attacks: Annotated[tuple[AttackRecord, ...], Field(min_length=1)]
    sources: tuple[AttackRecord, ...]
    per_image: PerImage
    command: str
    identity: str = ""
    """What the user said of objects from Python that no hash tells from others; else empty."""
    environment: Words
    """Versions and hardware that all shards were made with; in entries from before there were `environments`,
    those of the process that put them together."""
    environments: tuple[MadeWith, ...] = ()
    """All that its shards were made with; empty in entries from before."""
    challenges: tuple[Challenge, ...] = ()
    """What lowered it from outside, in the order in which it came."""
    diagnosis: tuple[DiagnosisRecord, ...] = ()
    """Empty where the protocol asked for none, as all did before there was one."""
    eps_curve: tuple[CurvePoint, ...] = ()
    """Of the diagnosed attack, the worse of its gradient modes, on the diagnosis's images; ascending."""
    examination: tuple[Examined, ...] = ()
    examples: Examples | None = None
    """The pictures beside it, in a file of the entry's name that ends in `.png`; None where there are none."""
    kept_images: KeptImages | None = None
    """The adversarial images beside it, which `bench audit` asks the victim about again; None for none."""
    audit: Audit | None = None
    """What the last audit found; None before there was one."""

    @property
    def name(self) -> str:
        """Its defense and its classifier."""
        return f"{self.defense.label} on {self.classifier.name}"

    @property
    def is_legacy(self) -> bool:
        """Whether it is of schema 1, and so cannot be recomputed."""
        return self.schema_version < SCHEMA_VERSION

    def family(self, column: Column) -> Family | None:
        """A column; None where the protocol has none of that kind for such a victim and task."""
        found: Family | None = getattr(self.columns, column.field, None)
        return found

    def family_rate(self, column: Column) -> Rate | None:
        """A column's accuracy of single draws; None where it has none."""
        family = self.family(column)
        return family.rates.single if family and family.rates else None

    def is_applicable(self, column: Column) -> bool:
        """Whether no row of a column is asked for and left out as not applicable to such a task."""
        return not any(gap.column is column for gap in self.not_applicable) or bool(
            self.family(column)
        )

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Entry:
        for problem in _problems(self):
            raise ValueError(problem)
        return self


def _problems(entry: Entry) -> Iterator[str]:
    """What one field says of another and is not so; the first of these is told."""
    yield from _gaps(entry)
    yield from _images(entry)
    refuse_broken_chain(entry.challenges, entry.worst)
    budgets = [point.eps for point in entry.eps_curve]
    if budgets != sorted(set(budgets)):
        yield "eps_curve: expected ascending budgets, each once"
    if entry.environments and entry.environment != shared(entry.environments):
        yield "environment: expected what all environments have in common"
    yield from _twice(entry)
    yield from _rows(entry)
    yield from _columns(entry)
    yield from _diagnosis(entry)


def _gaps(entry: Entry) -> Iterator[str]:
    if (entry.status == "gaps") != bool(entry.gaps):
        yield "status is 'gaps' exactly where gaps are named"
    for gap in entry.gaps:
        if gap.why.is_not_applicable:
            yield f"row {gap.row!r} is not applicable ({gap.why}), and so no gap"
    for gap in entry.not_applicable:
        if not gap.why.is_not_applicable:
            yield f"row {gap.row!r} is a gap ({gap.why}), and so not 'not applicable'"
    gaps = {row.id for row in (*entry.attacks, *entry.sources) if row.status == "gap"}
    unnamed = gaps - {gap.row for gap in entry.gaps}
    if unnamed:
        yield f"the gap {min(unnamed)!r} is not named among the gaps"


def _images(entry: Entry) -> Iterator[str]:
    """Each image has what the others have, and rates are those of the images."""
    n, images = entry.dataset.n, entry.per_image
    if len(images.indices) != n or len(images.labels) != n:
        yield f"expected {n} indices and labels, one an image"
    scored = n if entry.clean else 0
    for name in ("clean", "worst", "chosen"):
        if len(getattr(images, name)) != scored:
            yield f"per_image.{name}: expected {scored}, one an image"
    if (entry.clean is None) != (entry.worst is None):
        yield "a clean accuracy and a worst case come together or not at all"
    known = {row.id for row in entry.attacks}
    measured = [gap.row for gap in entry.not_applicable if gap.row in known]
    if measured:
        yield f"row {measured[0]!r} is not applicable and has been measured"
    known |= {challenge_id(k) for k in range(1, len(entry.challenges) + 1)}
    if set(images.chosen) - known:
        yield "per_image.chosen names an attack that is not there"
    refuse_other_mean("clean", entry.clean.single if entry.clean else None, images.clean)
    refuse_other_mean("worst", entry.worst.single if entry.worst else None, images.worst)
    refuse_other_choices(images.choices, entry.worst, images.worst)


def _twice(entry: Entry) -> Iterator[str]:
    """What must be named once, and is named twice."""
    named = {
        "attacks and sources": [row.id for row in (*entry.attacks, *entry.sources)],
        "diagnosis": [row.id for row in entry.diagnosis],
        "examination": [each.id for each in entry.examination],
        "flags": [flag.id for flag in entry.flags],
    }
    for where, names in named.items():
        for i, name in enumerate(names):
            if name in names[:i]:
                yield f"{where}: {name!r} stands there twice"


def _rows(entry: Entry) -> Iterator[str]:
    n = entry.dataset.n
    for row in entry.attacks:
        if row.column is None:
            yield f"attack {row.id!r} has no column; only sources have none"
    for row in entry.sources:
        if row.column is not None:
            yield f"source {row.id!r} has a column; only attacks have one"
    for row in (*entry.attacks, *entry.sources):
        if len(row.outcomes) not in (0, n):
            yield f"row {row.id!r}: expected outcomes of {n} images, got {len(row.outcomes)}"
        if row.scores and not row.scores.is_of(n, is_whole=row.status == "ok"):
            yield f"row {row.id!r}: expected scores of {n} images, got others"


def _columns(entry: Entry) -> Iterator[str]:
    """Each column names its own rows; the outcomes that its rates stand for are there."""
    rows = {row.id: row for row in entry.attacks}
    for column in FAMILIES:
        family = entry.family(column)
        if family is None:
            continue
        for name in family.rows:
            if name not in rows or rows[name].column is not column:
                yield f"column {column}: {name!r} is no row of it"
        is_measured = bool(family.rows) and all(rows[name].outcomes for name in family.rows)
        if family.rates and not is_measured:
            yield f"column {column}: it has rates, and a row of it has none"


def _diagnosis(entry: Entry) -> Iterator[str]:
    """What was varied is an attack of the entry, on images that it has; a curve has its budgets."""
    names = {row.id for row in entry.attacks}
    for row in entry.diagnosis:
        if row.of not in names:
            yield f"diagnosis {row.id!r} varies {row.of!r}, which is no attack of the entry"
        if row.images > entry.dataset.n:
            yield f"diagnosis {row.id!r} is on {row.images} images, of {entry.dataset.n}"
    if entry.eps_curve and not any(row.kind == "eps" for row in entry.diagnosis):
        yield "eps_curve: no row of the diagnosis has another budget"


def without_timing(entry: Entry) -> dict[str, Any]:
    """An entry as plain JSON values, less time, memory, hardware and pictures: what runs of a command agree on.

    Pictures are made by `bench run` alone, as are kept images, and the last bit of a pixel may be another on
    another machine.
    """
    spent = {"cost": {"seconds_per_image", "peak_memory_bytes"}}
    rows = {"__all__": spent}
    timing: dict[str, Any] = {**spent, "attacks": rows, "sources": rows, "diagnosis": rows}
    left_out = ("examples", "kept_images", "audit", "environment", "environments")
    timing |= dict.fromkeys(left_out, True)
    return entry.model_dump(mode="json", exclude=timing)


def json_schema() -> dict[str, Any]:
    """The JSON Schema of an entry."""
    return Entry.model_json_schema() | {"title": "purifybench leaderboard entry"}


UNDEFENDED = "defenses.none:Identity"
"""The plugin that leaves every image as it is."""


def is_undefended(entry: Entry) -> bool:
    """Whether nothing stands before the classifier."""
    return all(stage.plugin == UNDEFENDED for stage in entry.defense.stages)
