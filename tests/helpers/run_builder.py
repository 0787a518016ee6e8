"""Hand-built runs: what an evaluation hands to publishing, without any evaluation."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain

from benchmark.engine.criterion import Criterion, Outcome, Rule
from benchmark.engine.threat import Knowledge, Threat
from benchmark.publishing.leaderboard.escaping import short_hash
from benchmark.records.entry import UNDEFENDED, Entry
from benchmark.records.identity import Asked
from benchmark.records.job import ClassifierId, Job, PluginId
from benchmark.records.missing_rows import Missing
from benchmark.records.protocol import AttackRow, Column, Protocol, SourceRow
from benchmark.records.result import Result, ShardCost, Status
from benchmark.records.run import DefenseMeasurement, Diagnosed, Kind, PlannedAttack
from benchmark.records.run import Run as FinishedRun
from benchmark.records.task import Task
from benchmark.scoring.assembly import assemble
from benchmark.scoring.diagnosis_flags import EXAMINED

COLUMNS = {
    "clean": (Column.CLEAN, Knowledge.OBLIVIOUS),
    "oblivious": (Column.OBLIVIOUS, Knowledge.OBLIVIOUS),
    "autoattack": (Column.AUTOATTACK, Knowledge.WHITE_BOX),
    "pgd": (Column.ADAPTIVE, Knowledge.WHITE_BOX),
    "fgsm": (Column.ADAPTIVE, Knowledge.WHITE_BOX),
    "auxiliary": (Column.AUXILIARY, Knowledge.WHITE_BOX),
    "transfer": (Column.TRANSFER, Knowledge.TRANSFER),
    "square": (Column.BLACK_BOX, Knowledge.BLACK_BOX),
    "queries": (Column.ADAPTIVE, Knowledge.BLACK_BOX),
}
"""Column and knowledge of a row, by the first part of its id."""

Cell = str | Outcome | Mapping[Rule, Outcome]
"""What became of one image: bits alone, or an outcome, or one under each rule."""


MEASURED = (*chain.from_iterable(EXAMINED.values()), "constant")
"""All that is measured of victim and purifiers."""
AS_DECLARED = tuple(
    DefenseMeasurement(id=name, value=0.0, threshold=0.5, detail="as declared") for name in MEASURED
)


@dataclass(frozen=True, kw_only=True)
class Varied:
    """A row of a diagnosis: one cell for each of the first images, under a budget or the run's own.

    Args:
        own: What a frozen attack says of itself.
    """

    kind: Kind
    cells: Sequence[Cell]
    eps: float | None = None
    of: str = "pgd"
    own: float | None = None

    @property
    def id(self) -> str:
        mode = self.of.removeprefix(self.of.partition(":")[0])
        return f"diagnosis-{self.kind}{'' if self.eps is None else f'-{self.eps:g}'}{mode}"


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run to be; every field has a plain default.

    Args:
        rows: For each row's id one cell an image. `fgsm` and `pgd:bpda` are rows of the adaptive column.
        sources: The same for rows on the bare classifier.
        failed: Shards that crashed, as (row, first image).
        missing: Shards that are not there, likewise.
        traces: Of a row, the same for each of its shards.
        content: The classifier's sha256; empty for one that follows from its name.
    """

    rows: Mapping[str, Sequence[Cell]]
    sources: Mapping[str, Sequence[Cell]] = field(default_factory=dict)
    is_stochastic: bool = False
    failed: frozenset[tuple[str, int]] = frozenset()
    missing: frozenset[tuple[str, int]] = frozenset()
    skipped: Mapping[str, Missing] = field(default_factory=dict)
    not_planned: frozenset[str] = frozenset()
    traces: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    warnings: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    zero_gradients: Mapping[str, float] = field(default_factory=dict)
    label: str = "toy"
    weights: str = ""
    arguments: str = '{"sigma": 0.25}'
    model: str = "net"
    content: str = ""
    precision: str = "float32"
    seed: int = 0
    dataset: str = "digits"
    threat: str = "linf:8/255"
    protocol: str = "standard"
    version: int = 1
    samples: int | None = None
    classes: int = 10
    pixels: str = "p"
    seconds: float = 1.0
    diagnosis: Sequence[Varied] = ()
    examination: tuple[DefenseMeasurement, ...] = AS_DECLARED

    @property
    def n(self) -> int:
        return len(next(iter(self.rows.values())))

    def evaluated(self, shard: int = 2) -> FinishedRun:
        """The run as publishing sees it, cut into shards of so many images."""
        made = [self._row(name, is_source=False) for name in self.rows]
        made += [self._row(name, is_source=True) for name in self.sources]
        made += [self._varied(varied) for varied in self.diagnosis]
        kept = [
            row for row in made if row.id not in self.skipped and row.id not in self.not_planned
        ]
        return FinishedRun(
            task=self._task(),
            label=self.label,
            is_stochastic=self.is_stochastic,
            gradient="exact",
            indices=tuple(range(100, 100 + self.n)),
            labels=tuple(i % self.classes for i in range(self.n)),
            protocol=self._protocol(),
            rows=tuple(kept),
            results={row.job.key: self._shards(row, shard) for row in kept},
            skipped=self.skipped,
            command="bench run",
            examination=self.examination,
        )

    def entry(self, shard: int = 2) -> Entry:
        return assemble(self.evaluated(shard))

    def _task(self) -> Task:
        return Task(
            dataset=self.dataset,
            classes=self.classes,
            shape=(1, 8, 8),
            threat=Threat.parse(self.threat),
            precision=self.precision,
            seed=self.seed,
        )

    def _protocol(self) -> Protocol:
        attacks: dict[str, AttackRow] = {}
        for name in self.rows:
            base = name.partition(":")[0]
            column, knowledge = COLUMNS[base.partition("-")[0]]
            attacks[base] = AttackRow(id=base, column=column, knowledge=knowledge, attack=base)
        return Protocol(
            name=self.protocol,
            version=self.version,
            summary="by hand",
            samples=self.samples,
            preliminary=self.protocol == "quick",
            criterion=Asked(draws=4, vote=2, any_of=2),
            sources=[
                SourceRow(id=name.partition(":")[0], attack="pgd", against="bare")
                for name in self.sources
            ],
            attacks=list(attacks.values()),
        )

    def _row(self, name: str, *, is_source: bool) -> PlannedAttack:
        base, _, mode = name.partition(":")
        attack = base.partition("-")[0]
        column, knowledge = (None, Knowledge.OBLIVIOUS) if is_source else COLUMNS[attack]
        path = UNDEFENDED if self.label == "none" else "toys:Toy"
        defenses = (PluginId(path, self.label, self.arguments, "s" * 64, self.weights),)
        asked = Criterion(4, 2, 2) if self.is_stochastic and not is_source else Criterion(1, 1, 1)
        job = Job(
            row=name,
            task=self._task(),
            defenses=() if is_source else defenses,
            classifier=ClassifierId(self.model, self.content or short_hash(self.model) * 8),
            attack=PluginId(f"attacks:{attack}", attack, json.dumps({"id": name}), "a" * 64),
            gradient=mode if mode in ("exact", "bpda") else "exact",
            eot=1,
            is_source=is_source,
            criterion=asked,
            engine="e",
        )
        counts = not is_source and not (self.is_stochastic and column is Column.AUTOATTACK)
        return PlannedAttack(id=name, job=job, column=column, knowledge=knowledge, counts=counts)

    def _varied(self, varied: Varied) -> PlannedAttack:
        base = self._row(varied.of, is_source=False)
        task = base.job.task
        if varied.eps is not None:
            task = replace(task, threat=Threat(task.threat.norm, varied.eps))
        attack = replace(base.job.attack, arguments=json.dumps({"id": varied.id}))
        return replace(
            base,
            id=varied.id,
            job=replace(base.job, row=varied.id, task=task, attack=attack),
            column=None,
            counts=False,
            diagnosis=Diagnosed(kind=varied.kind, of=varied.of, images=len(varied.cells)),
        )

    def _cells(self) -> dict[str, Sequence[Cell]]:
        varied = {each.id: each.cells for each in self.diagnosis}
        return {**self.rows, **self.sources, **varied}

    def _shards(self, row: PlannedAttack, size: int) -> tuple[Result, ...]:
        n = row.images(self.n)
        starts = [i for i in range(0, n, size) if (row.id, i) not in self.missing]
        return tuple(self._shard(row, i, min(i + size, n)) for i in starts)

    def _shard(self, row: PlannedAttack, start: int, stop: int) -> Result:
        place = {"job": row.job.key, "start": start, "stop": stop}
        if (row.id, start) in self.failed:
            return Result(**place, status=Status.FAILED, error="RuntimeError: it | crashed")
        cells = self._cells()[row.id][start:stop]
        own = {each.id: (each.own,) for each in self.diagnosis if each.own is not None}
        return Result(
            **place,
            status=Status.OK,
            outcomes={rule: tuple(outcome(cell, rule) for cell in cells) for rule in Rule},
            cost=ShardCost(
                forwards=3 * (stop - start), backwards=stop - start, seconds=self.seconds
            ),
            context=() if row.job.is_source else in_context(cells),
            trace=own.get(row.id, self.traces.get(row.id, ())),
            warnings=self.warnings.get(row.id, ()),
            zero_gradients=self.zero_gradients.get(row.id, 0.0),
            pixels_sha256=f"{self.pixels}{start}",
            environment={"torch": "2", "numpy": "1"},
        )


def outcome(cell: Cell, rule: Rule = Rule.SINGLE) -> Outcome:
    """A cell as an outcome; bits alone stand for draws that say on `select` what they say on `score`."""
    if isinstance(cell, Outcome):
        return cell
    if isinstance(cell, str):
        return Outcome(cell.count("1") / len(cell), 0.0, cell)
    return cell[rule]


def deterministic(**rows: str) -> dict[str, list[Cell]]:
    """Rows of a deterministic victim, one character an image; `pgd_bpda` stands for `pgd:bpda`."""
    return {name.replace("_", ":"): list(bits) for name, bits in rows.items()}


WHOLE = deterministic(
    clean="111110",
    oblivious="111010",
    autoattack="110100",
    pgd="111000",
    auxiliary="110100",
    transfer="111110",
)
"""Six images; right in the worst case: the first two."""


def in_context(cells: Sequence[Cell]) -> tuple[int, ...]:
    """As an honest victim answers one draw: as often right as in the verdict, in turns where that is half."""
    shares = [outcome(cell, Rule.SINGLE).rate for cell in cells]
    return tuple(round(share + (0.25 if i % 2 else -0.25)) for i, share in enumerate(shares))
