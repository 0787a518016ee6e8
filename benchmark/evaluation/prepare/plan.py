"""Plans: a protocol applied to one defense and one classifier, as a graph of jobs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from torch import nn

from benchmark.compute.sandbox import sandboxed
from benchmark.engine.arguments import parameters_of, refuse_arguments
from benchmark.engine.attacking.attack import Attack
from benchmark.engine.criterion import Criterion
from benchmark.engine.threat import Knowledge
from benchmark.engine.victims.classifier import Classifier
from benchmark.engine.victims.defense import Derivative
from benchmark.errors import BenchError
from benchmark.evaluation.prepare.diagnosis_plan import diagnosis_rows
from benchmark.evaluation.prepare.plugin_ids import attack_id, harness_sha256, watched_for
from benchmark.plugins import ATTACKS
from benchmark.records.gradients import MeasuredGradients
from benchmark.records.job import MIXED, ClassifierId, Job, PluginId
from benchmark.records.missing_rows import Missing, Why
from benchmark.records.protocol import BARE, SURROGATES, AttackRow, Protocol, SourceRow
from benchmark.records.protocol_rows import BEST, Faced
from benchmark.records.run import PlannedAttack
from benchmark.records.task import Task

CLEAN = "clean"
"""The attack that changes nothing: as a source it measures the bare classifier itself, and is kept."""


@dataclass(frozen=True, kw_only=True)
class Plannable:
    """What a protocol is applied to, as far as a plan asks; it need not be there to be attacked.

    Args:
        task: The images, the threat and the arithmetic.
        plugins: The purifiers in order, as a key sees them.
        gradient: The least that one of them offers to back-propagation.
        is_stochastic: Whether the victim made of them is.
        measured: The gradients of that victim; None where they were not measured.
        is_uncut: Whether its answers, or those of a bare classifier, hang on the batch.
        ensembles: Those that the protocol makes images on, by the expression, as far as there are members.
        composition: How an ensemble is put together; empty for a chain.
        victim_sha256: sha256 of how purifiers and classifier are put together, and of which source, hex.
        seeds: The sha256 of so many images of an attacker's own; None where there are none.
    """

    protocol: Protocol
    task: Task
    plugins: tuple[PluginId, ...]
    gradient: Derivative = Derivative.EXACT
    is_stochastic: bool
    measured: MeasuredGradients | None = None
    is_uncut: bool = False
    classifier: Classifier
    surrogates: Mapping[str, Classifier]
    ensembles: Mapping[str, Classifier]
    composition: str = ""
    victim_sha256: str = ""
    seeds: Callable[[int], str] | None = None

    @property
    def faced(self) -> Faced:
        """What the protocol's rows hang on of the victim."""
        return Faced(
            gradient=self.gradient.value, is_stochastic=self.is_stochastic, measured=self.measured
        )


def unasked(name: str) -> Classifier:
    """A classifier of which a plan knows the name alone; it cannot be run."""
    return Classifier(nn.Identity(), name=name, classes=2, sha256=name)


def make_plan(ready: Plannable) -> tuple[list[PlannedAttack], dict[str, Missing]]:
    """All jobs of a protocol, sources first, and the rows that cannot be planned, each with its reason.

    The diagnosis comes last: a job that a ranked row has too is done for that row.

    Raises:
        BenchError: The protocol names an attack that there is not, or arguments that it does not take.
    """
    planner, protocol = _Planner(ready), ready.protocol
    sources = {row.id: list(planner.source_rows(row)) for row in protocol.sources}
    rows = [made for group in sources.values() for made in group]
    for row in ready.faced.rows(protocol):
        before = [made.job.key for made in rows if made.counts] if row.last else []
        rows.extend(planner.attack_rows(row, sources, before))
    wanted = {key for row in rows if row.column is not None for key in row.job.needs}
    kept = [
        row
        for row in rows
        if row.column is not None or row.job.key in wanted or row.job.attack.label == CLEAN
    ]
    if protocol.diagnosis is not None:
        kept += diagnosis_rows(
            protocol.diagnosis,
            [row for row in kept if row.column is not None],
            modes=BEST[ready.gradient],
            is_stochastic=ready.is_stochastic,
        )
    return kept, planner.skipped


class _Planner:
    def __init__(self, ready: Plannable) -> None:
        self.ready = ready
        self.skipped: dict[str, Missing] = {}
        self.engine = harness_sha256()

    def source_rows(self, row: SourceRow) -> Iterator[PlannedAttack]:
        """One row for each classifier that a source is made on."""
        knowledge = Knowledge.OBLIVIOUS if row.sees_bare else Knowledge.TRANSFER
        attack = self._attack(row)
        if not self._fits(row, attack):
            return
        for classifier in self._made_on(row):
            job = self._job(row.id, attack, made_on=classifier)
            yield PlannedAttack(
                id=f"{row.id}:{classifier.name}",
                job=job,
                column=None,
                knowledge=knowledge,
                counts=False,
            )

    def _made_on(self, row: SourceRow) -> list[Classifier]:
        if row.against == BARE:
            return [self.ready.classifier]
        if row.against == SURROGATES:
            return list(self.ready.surrogates.values())
        found = self.ready.ensembles.get(row.against)
        if found is not None:
            return [found]
        self.skipped[row.id] = Missing(
            Why.NO_SURROGATES,
            f"too few surrogate classifiers are known for {self.ready.task.dataset} to make {row.against}",
        )
        return []

    def attack_rows(
        self,
        row: AttackRow,
        sources: Mapping[str, Sequence[PlannedAttack]],
        before: Sequence[str],
    ) -> Iterator[PlannedAttack]:
        """One row for each gradient mode; none, with a reason kept, where it cannot be run.

        Args:
            row: The row.
            sources: The rows of each source.
            before: The jobs that it goes on from, each once.
        """
        attack = self._attack(row)
        if not self._fits(row, attack):
            return
        needs = tuple(made.job.key for source in row.sources for made in sources[source])
        needs += tuple(dict.fromkeys(before))
        if row.sources and not needs:
            self.skipped[row.id] = self._without_sources(row)
            return
        for mode, name in self.ready.faced.names(row).items():
            job = self._job(
                row.id, attack, gradient=mode, eot=row.eot, knows_draw=row.knows_draw, needs=needs
            )
            job = replace(job, is_last=row.last)
            yield PlannedAttack(
                id=name,
                job=job,
                column=row.column,
                knowledge=row.knowledge,
                counts=row.counts_on(is_stochastic=self.ready.is_stochastic),
            )

    def _fits(self, row: SourceRow | AttackRow, attack: Attack) -> bool:
        """Whether the attack exists for the task's classes, threat and images; else the reason is kept."""
        s, is_fixed = self.ready, isinstance(row, SourceRow) or row.knows_draw
        checks: dict[Why, Callable[[], object]] = {
            Why.TOO_FEW_CLASSES: lambda: attack.refuse_classes(
                s.task.classes, stochastic=s.is_stochastic and not is_fixed
            ),
            Why.THREAT_UNSUPPORTED: lambda: attack.refuse_threat(s.task.threat),
            Why.NO_SEED_IMAGES: lambda: self._seeds(attack),
        }
        for why, check in checks.items():
            try:
                check()
            except BenchError as error:
                self.skipped[row.id] = Missing(why, str(error))
                return False
        return True

    def _without_sources(self, row: AttackRow) -> Missing:
        """Why none of a row's sources was made: a gap, unless no source of it is one."""
        missing = [self.skipped[source] for source in row.sources if source in self.skipped]
        if len(missing) < len(row.sources):  # one that is made on no surrogate is in no plan
            reason = f"no surrogate classifiers are known for {self.ready.task.dataset}"
            missing.append(Missing(Why.NO_SURROGATES, reason))
        why = min((one.why for one in missing), key=lambda why: why.is_not_applicable)
        return Missing(why, "; ".join(map(str, missing)))

    def _attack(self, row: SourceRow | AttackRow) -> Attack:
        kind = ATTACKS.get(row.attack)
        what = f"protocol {self.ready.protocol.name!r}, row {row.id!r}: attack {row.attack!r}"
        refuse_arguments(row.arguments, kind, what=what)
        with (
            watched_for(kind, parameters_of(kind) | row.arguments),
            sandboxed(f"{what}: making it"),
        ):
            attack = kind(**row.arguments)
        if isinstance(row, AttackRow) and row.knows_draw and not attack.per_image:
            raise BenchError(
                f"{what} does not draw image by image (per_image), so that it cannot meet an image at the draw "
                f"that it knows: choose one that does, such as apgd"
            )
        return attack

    def _job(
        self,
        row: str,
        attack: Attack,
        *,
        made_on: Classifier | None = None,
        gradient: str = "exact",
        eot: int = 1,
        knows_draw: bool = False,
        needs: tuple[str, ...] = (),
    ) -> Job:
        s, is_source = self.ready, made_on is not None
        frozen = made_on or s.classifier
        is_random = s.is_stochastic and not (is_source or knows_draw)
        return Job(
            row=row,
            task=replace(s.task, precision=self._precision(attack, is_source=is_source)),
            defenses=() if is_source else s.plugins,
            classifier=ClassifierId(
                frozen.name, frozen.sha256, frozen.code, frozen.source, frozen.harness
            ),
            attack=attack_id(attack, weights=self._seeds(attack)),
            gradient=gradient,
            eot=eot if is_random else 1,
            is_source=is_source,
            criterion=s.protocol.asked() if is_random else Criterion(draws=1, vote=1, any_of=1),
            fixed_batch=0 if attack.per_image and not s.is_uncut else s.protocol.shard_size,
            is_uncut=s.is_uncut,
            knows_draw=knows_draw,
            needs=needs,
            composition="" if is_source else s.composition,
            engine=self.engine,
            victim="" if is_source else s.victim_sha256,
        )

    def _seeds(self, attack: Attack) -> str:
        """The sha256 of the attacker's own images; empty where the attack asks for none.

        Raises:
            BenchError: There are not so many.
        """
        known = self.ready.seeds
        return known(attack.seeds) if attack.seeds and known is not None else ""

    def _precision(self, attack: Attack, *, is_source: bool) -> str:
        """Mixed only where there is a search to be done twice; images made for transfer are made once."""
        mixes = attack.mixes and attack.per_image and not is_source
        precision = self.ready.task.precision
        return "float32" if precision == MIXED and not mixes else precision
