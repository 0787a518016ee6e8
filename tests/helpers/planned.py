"""Entries as a shipped protocol plans them, with outcomes by chance: what `bench validate` asks for holds."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from torch import nn

from benchmark.engine.criterion import Criterion, Outcome, Rule
from benchmark.engine.dataset import indices_of, labels_of
from benchmark.engine.threat import Threat
from benchmark.engine.victims.classifier import Classifier
from benchmark.evaluation.execute.shard import attack_of
from benchmark.evaluation.prepare.loading import load_dataset
from benchmark.evaluation.prepare.plan import Plannable, make_plan
from benchmark.evaluation.prepare.plugin_ids import plugin_of
from benchmark.files.user_folders import data_folder
from benchmark.plugins import DEFENSES
from benchmark.records.entry import Entry
from benchmark.records.gradients import MeasuredGradient, MeasuredGradients
from benchmark.records.job import PluginId
from benchmark.records.protocol import Protocol
from benchmark.records.protocol_files import load_protocol
from benchmark.records.rates import share
from benchmark.records.result import Result, ShardCost, Status
from benchmark.records.run import DefenseMeasurement, PlannedAttack, Run
from benchmark.records.task import Task
from benchmark.scoring.apply_challenge import challenged
from benchmark.scoring.assembly import assemble
from tests.helpers.run_builder import MEASURED

HASH = "0123456789abcdef" * 4
MEASURED_GRADIENTS = MeasuredGradients(
    images=32,
    moved=1.0,
    floor=0.05,
    modes=(
        MeasuredGradient(mode="exact", zeros=1.0, slopes=0.0),
        MeasuredGradient(mode="bpda", zeros=0.0, slopes=0.01, cosine=0.55),
        MeasuredGradient(mode="recovered", zeros=0.0, slopes=0.02, cosine=0.7),
    ),
)
"""Of a purifier that rounds: none is confirmed, so that every row is met."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A run that never was.

    Args:
        defense: A registered one without weights, `gaussian` for a random victim.
        failed: Rows whose last shard crashed.
        is_challenged: Whether images from outside lowered it.
    """

    defense: str = "jpeg"
    protocol: str | Protocol = "quick"
    n: int = 6
    seed: int = 0
    threat: str = "linf:0.15"
    failed: frozenset[str] = frozenset()
    is_challenged: bool = False
    examination: Sequence[DefenseMeasurement] = field(
        default_factory=lambda: tuple(
            DefenseMeasurement(id=name, value=0.25, threshold=1.0, detail="as it should be")
            for name in MEASURED
        )
    )

    def entry(self) -> Entry:
        """The entry of it."""
        entry = assemble(self.evaluated())
        return self._lowered(entry) if self.is_challenged else entry

    def evaluated(self) -> Run:
        """The same as publishing sees it."""
        protocol = (
            self.protocol if isinstance(self.protocol, Protocol) else load_protocol(self.protocol)
        )
        dataset = load_dataset("digits", folder=data_folder(None))
        protocol = protocol.for_classes(dataset.classes)
        order = indices_of(dataset, "test", "nested")[: self.n]
        labels = labels_of(dataset, "test")
        made = DEFENSES.get(self.defense)()
        plugin = replace(plugin_of(made, label=made.label(dataset.shape)), source=HASH)
        applied = self._applied(protocol, made, plugin, dataset)
        rows, skipped = make_plan(applied)
        by_chance = Chance(random.Random(self.seed), protocol, made.stochastic)
        results = {row.job.key: self._shards(row, by_chance) for row in rows}
        name = self.protocol if isinstance(self.protocol, str) else self.protocol.name
        return Run(
            task=applied.task,
            label=plugin.label,
            is_stochastic=made.stochastic,
            gradient=str(made.gradient),
            measured=MEASURED_GRADIENTS,
            indices=tuple(order),
            labels=tuple(int(labels[i]) for i in order),
            protocol=protocol,
            rows=tuple(rows),
            results=results,
            skipped=skipped,
            command=(
                f"bench run --defense {self.defense} --model digits-cnn --dataset digits "
                f"--threat {self.threat} --protocol {name} --samples {self.n} --seed {self.seed}"
            ),
            examination=tuple(self.examination),
        )

    def _applied(self, protocol: Protocol, made, plugin: PluginId, dataset) -> Plannable:
        names = [name for name in (*dataset.surrogates, *dataset.strangers) if name != "digits-cnn"]
        return Plannable(
            protocol=protocol,
            task=Task(
                dataset="digits",
                classes=dataset.classes,
                shape=tuple(dataset.shape),
                threat=Threat.parse(self.threat),
                seed=self.seed,
            ),
            plugins=(plugin,),
            gradient=made.gradient,
            measured=MEASURED_GRADIENTS,
            is_stochastic=made.stochastic,
            classifier=_bare("digits-cnn"),
            surrogates={name: _bare(name) for name in names},
            ensembles={},
        )

    def _shards(self, row: PlannedAttack, by_chance: Chance) -> tuple[Result, ...]:
        n = row.images(self.n)
        cuts = [(0, n // 2), (n // 2, n)] if n > 1 else [(0, n)]
        made = [by_chance.shard(row, start, stop) for start, stop in cuts]
        if row.id in self.failed:
            last = {"job": row.job.key, "start": cuts[-1][0], "stop": cuts[-1][1]}
            made[-1] = Result(**last, status=Status.FAILED, error="RuntimeError: it crashed")
        return tuple(made)

    def _lowered(self, entry: Entry) -> Entry:
        asked = Criterion(**entry.criterion.model_dump())
        draws = asked.draws
        found = {
            i: {rule: Outcome(0.0, -2.5, asked.outcomes(rule, [0] * draws, 1)) for rule in Rule}
            for i, bits in enumerate(entry.per_image.worst)
            if "1" in bits or i == 0
        }
        lowered = challenged(entry, found, credit="Ada", sha256=HASH)
        assert lowered is not None
        return lowered


@dataclass(frozen=True)
class Chance:
    """Outcomes, costs and traces by chance, as an evaluation could have them."""

    random: random.Random
    protocol: Protocol
    is_stochastic: bool

    def shard(self, row: PlannedAttack, start: int, stop: int) -> Result:
        job, size = row.job, stop - start
        is_random = self.is_stochastic and not (job.is_source or job.knows_draw)
        is_clean = job.attack.label == "clean"
        mean = {i: 1.0 if is_clean or i % 3 == 0 else 0.5 for i in range(start, stop)}
        images = [self._image(job.criterion, mean[i], is_random) for i in mean]
        passes = attack_of(job).passes(
            classes=10, eot=job.eot, stochastic=is_random, shape=(1, 8, 8)
        )
        forwards, backwards = (passes.forwards, passes.backwards) if passes else (0, 0)
        shared = passes.shared if passes else 0
        left = [self.random.randint(0, size) / size for _ in range(5)] if forwards > 4 else []
        return Result(
            job=job.key,
            start=start,
            stop=stop,
            status=Status.OK,
            outcomes={rule: tuple(image[rule] for image in images) for rule in Rule},
            cost=ShardCost(
                forwards=forwards * size + shared // 2,
                backwards=backwards * size,
                seconds=0.5 * size,
            ),
            context=self._context(images, job.eot) if forwards and not job.is_source else (),
            trace=tuple(sorted(left, reverse=True)),
            zero_gradients=0.01 if backwards else 0.0,
            environment={"purifybench": "0.1.0", "python": "3.11.7", "torch": "2.15.0"},
            pixels_sha256=HASH,
        )

    def _context(self, images: list[Mapping[Rule, Outcome]], eot: int) -> tuple[int, ...]:
        """As an honest victim answers; a deterministic one, as in the verdict."""
        rates = [share(image[Rule.SINGLE].bits) for image in images]
        if not self.is_stochastic:
            return tuple(round(rate) * eot for rate in rates)
        return tuple(sum(self.random.random() < rate for _ in range(eot)) for rate in rates)

    def _image(self, asked: Criterion, mean: float, is_random: bool) -> Mapping[Rule, Outcome]:
        right = min(1.0, max(0.0, self.random.gauss(mean, 0.02)))
        draws = asked.draws if is_random else 1
        select, score = (
            [int(self.random.random() < right) for _ in range(draws)] for _ in range(2)
        )
        score = score if is_random else select
        margin = (sum(select) / draws - 0.5) * (1 + self.random.random())
        found = {}
        for rule in Rule:
            bits = asked.outcomes(rule, select, 1)
            found[rule] = Outcome(
                bits.count("1") / len(bits), margin, asked.outcomes(rule, score, 1)
            )
        return found


def _bare(name: str) -> Classifier:
    return Classifier(nn.Identity(), name=name, classes=10, sha256=HASH)
