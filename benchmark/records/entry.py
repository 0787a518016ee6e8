"""Entries: what a leaderboard publishes for one defense, classifier, dataset, threat and protocol."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import Field, model_validator

from benchmark.engine.threat import Knowledge
from benchmark.files.schema import Arguments, Strict, Words
from benchmark.records.audit import Audit, KeptImages
from benchmark.records.challenge import (
    Challenge,
    Choices,
    challenge_id,
    refuse_broken_chain,
    refuse_other_choices,
)
from benchmark.records.diagnosis import CurvePoint, DiagnosisRecord, Examined
from benchmark.records.environments import MadeWith, shared
from benchmark.records.examples import Examples
from benchmark.records.identity import (
    Asked,
    ClassifierIdentity,
    Count,
    DatasetIdentity,
    DefenseIdentity,
    ProtocolIdentity,
    Share,
    ThreatIdentity,
)
from benchmark.records.missing_rows import Gap as Gap
from benchmark.records.missing_rows import StandIn as StandIn
from benchmark.records.missing_rows import refuse_misplaced
from benchmark.records.protocol import Column
from benchmark.records.rates import Cost as Cost
from benchmark.records.rates import Outcomes, refuse_other_mean
from benchmark.records.rates import Rate as Rate
from benchmark.records.rates import Rates as Rates
from benchmark.records.references import refuse_dangling
from benchmark.records.scores import Scores

SCHEMA_VERSION: Final = 2
"""Raised whenever a field is taken away or changes its meaning. A new field with a default raises nothing:
entries from before it are still read, as having none. Of schema 1, too, entries are read: they lack the scores
from which all else is made anew, so that nothing can be recomputed, and have no rank."""


class Family(Strict):
    """A column: one image chosen for each original over the clean one and this family's rows."""

    rows: tuple[str, ...]
    """Ids of the attacks that were planned for it."""
    is_complete: bool
    rates: Rates | None
    """None where a row of it is a gap: what is missing is never counted as withstood."""

    @model_validator(mode="after")
    def _gaps_have_no_value(self) -> Family:
        if self.rates is not None and not self.is_complete:
            raise ValueError("an incomplete column has no rates")
        return self


class Columns(Strict):
    """The families; None where the protocol has none of that kind for such a victim and task."""

    oblivious: Family | None
    autoattack: Family | None
    adaptive: Family | None
    auxiliary: Family | None
    transfer: Family | None
    black_box: Family | None = None


class Undefended(Strict):
    """The bare classifier, on the very images that were made on it; None where no row measured it."""

    clean: Rate | None
    oblivious: Rate | None


class AttackRecord(Strict):
    """One row of the protocol: an attack on the victim, or a source made on a bare classifier."""

    id: str
    column: Column | None
    """None for a source."""
    knowledge: Knowledge
    attack: str
    plugin: str
    arguments: Arguments
    source_sha256: str
    gradient: str
    eot: Annotated[int, Field(ge=1)]
    counts: bool
    """Whether it enters the worst case."""
    classifier: str
    """The one attacked, bare for a source."""
    job_key: str
    status: Literal["ok", "gap"]
    error: str
    rates: Rates | None
    """Of the worse of the clean image and this row's, for each image; of a source, on its own victim."""
    outcomes: tuple[Outcomes, ...]
    """Those that `rates.single` is the mean of, one string an image; empty where it is a gap."""
    cost: Cost
    trace: tuple[Share, ...]
    """Share of images still classified rightly, step by step."""
    warnings: tuple[str, ...]
    zero_gradients: Share
    """Share of gradients that were zero everywhere."""
    margins: tuple[float, ...] = ()
    """Mean margin (true logit minus best other) on `select` draws of the images that `outcomes` are of, rounded
    (`benchmark.records.rates.kept_margin`). Empty for a source, a gap, and in entries from before."""
    scores: Scores | None = None
    """Of this row's own images, of which `rates`, `outcomes` and `margins` follow. Of a gap those that it did
    finish; None where there are none, and in entries of schema 1."""

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> AttackRecord:
        if (self.status == "gap") != bool(self.error):
            raise ValueError("a gap has an error, and nothing else has")
        if self.status == "gap" and (self.rates or self.outcomes):
            raise ValueError("a gap has no rates and no outcomes")
        single = self.rates.single if self.rates else None
        refuse_other_mean(f"attack {self.id!r}", single, self.outcomes)
        if self.margins and len(self.margins) != len(self.outcomes):
            raise ValueError(f"margins: expected {len(self.outcomes)}, one an image")
        return self


class Flag(Strict):
    """A verdict on a known sign of an evaluation that fails to attack (`benchmark.publishing.flags`)."""

    id: str
    value: float | None
    threshold: float | None
    verdict: Literal["ok", "raised", "not-run"]
    detail: str


class PerImage(Strict):
    """What happened to each image, under the single-draw rule; empty rows where the clean row is a gap."""

    indices: tuple[Count, ...]
    labels: tuple[Count, ...]
    clean: tuple[Outcomes, ...]
    worst: tuple[Outcomes, ...]
    chosen: tuple[str, ...]
    """Id of the attack whose image was scored for the worst case; `challenge:k` for the k-th challenge's."""
    choices: Choices | None = None
    """Of a stochastic victim; None in entries from before they were kept. Of a deterministic one `worst` says
    all that there is to say, under every rule."""


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
        if (self.status == "gaps") != bool(self.gaps):
            raise ValueError("status is 'gaps' exactly where gaps are named")
        refuse_misplaced(self.gaps, self.not_applicable)
        gaps = [row.id for row in (*self.attacks, *self.sources) if row.status == "gap"]
        unnamed = set(gaps) - {gap.row for gap in self.gaps}
        if unnamed:
            raise ValueError(f"the gap {min(unnamed)!r} is not named among the gaps")
        n, images = self.dataset.n, self.per_image
        if len(images.indices) != n or len(images.labels) != n:
            raise ValueError(f"expected {n} indices and labels, one an image")
        scored = n if self.clean else 0
        for name in ("clean", "worst", "chosen"):
            if len(getattr(images, name)) != scored:
                raise ValueError(f"per_image.{name}: expected {scored}, one an image")
        if (self.clean is None) != (self.worst is None):
            raise ValueError("a clean accuracy and a worst case come together or not at all")
        known = {row.id for row in self.attacks}
        measured = [gap.row for gap in self.not_applicable if gap.row in known]
        if measured:
            raise ValueError(f"row {measured[0]!r} is not applicable and has been measured")
        known |= {challenge_id(k) for k in range(1, len(self.challenges) + 1)}
        if set(images.chosen) - known:
            raise ValueError("per_image.chosen names an attack that is not there")
        refuse_other_mean("clean", self.clean.single if self.clean else None, images.clean)
        refuse_other_mean("worst", self.worst.single if self.worst else None, images.worst)
        refuse_other_choices(images.choices, self.worst, images.worst)
        refuse_broken_chain(self.challenges, self.worst)
        budgets = [point.eps for point in self.eps_curve]
        if budgets != sorted(set(budgets)):
            raise ValueError("eps_curve: expected ascending budgets, each once")
        if self.environments and self.environment != shared(self.environments):
            raise ValueError("environment: expected what all environments have in common")
        refuse_dangling(self)
        return self


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
