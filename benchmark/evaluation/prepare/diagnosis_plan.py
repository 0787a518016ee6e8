"""Diagnoses planned: variations of one attack on the first images, which test the evaluation itself."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from benchmark.engine.threat import Knowledge, Norm, Threat
from benchmark.evaluation.prepare.plugin_ids import attack_id
from benchmark.plugins import ATTACKS
from benchmark.records.job import Job, canonical
from benchmark.records.run import Diagnosed, Kind, PlannedAttack
from benchmark.records.unranked import Diagnosis

GREY = 0.5
"""The linf budget that turns every image into grey, so that no classifier can tell one from another."""


def diagnosis_rows(
    asked: Diagnosis,
    rows: Sequence[PlannedAttack],
    *,
    modes: Sequence[str],
    is_stochastic: bool,
) -> Iterator[PlannedAttack]:
    """The rows of a protocol's diagnosis, varied from those planned in the modes that are a victim's best."""
    family = [row for row in rows if row.id.partition(":")[0] == asked.of]
    bases = [row for row in family if row.job.gradient in modes] or family
    for base in bases:
        vary = _Variation(asked, base, is_stochastic)
        yield from vary.doubled()
        yield from vary.curve()
        yield from vary.frozen()
    if bases and asked.points:
        yield _Variation(asked, bases[0], is_stochastic).noise()


def curve_of(
    threat: Threat, multiples: Sequence[float], shape: tuple[int, int, int]
) -> list[float]:
    """The budgets of an eps curve but the threat's own, ascending; the last turns every image into grey.

    In l2 no image is farther from grey than `GREY` times the square root of its number of pixel values.
    """
    end = GREY if threat.norm is Norm.LINF else GREY * math.sqrt(math.prod(shape))
    wanted = sorted({multiple * threat.eps for multiple in multiples} | {end})
    return [eps for eps in wanted if eps <= end and not math.isclose(eps, threat.eps)]


@dataclass(frozen=True, slots=True)
class _Variation:
    """One row of the varied attack, in one gradient mode."""

    asked: Diagnosis
    base: PlannedAttack
    is_stochastic: bool

    def doubled(self) -> Iterator[PlannedAttack]:
        """Twice the steps; twice the draws where there are any."""
        job = self.base.job
        arguments = json.loads(job.attack.arguments)
        if "steps" in self.asked.doubled and isinstance(arguments.get("steps"), int):
            twice = canonical({**arguments, "steps": 2 * arguments["steps"]})
            yield self._row("steps", replace(job, attack=replace(job.attack, arguments=twice)))
        if "eot" in self.asked.doubled and self.is_stochastic:
            yield self._row("eot", replace(job, eot=2 * job.eot))

    def curve(self) -> Iterator[PlannedAttack]:
        """The attack under other budgets."""
        job = self.base.job
        if self.asked.curve:
            task = job.task
            for eps in curve_of(task.threat, self.asked.curve, task.shape):
                varied = replace(task, threat=Threat(task.threat.norm, eps))
                yield self._row("eps", replace(job, task=varied), f"-{eps:.4g}")

    def frozen(self) -> Iterator[PlannedAttack]:
        """As many steps at one fixed draw."""
        if self.asked.frozen and self.is_stochastic:
            steps = json.loads(self.base.job.attack.arguments).get("steps", 40)
            yield self._row("frozen", self._by("frozen-draw", steps=steps))

    def noise(self) -> PlannedAttack:
        """Random points, which no gradient led to."""
        row = self._row("noise", self._by("random-points", points=self.asked.points))
        return replace(row, id="diagnosis-noise", knowledge=Knowledge.BLACK_BOX)

    def _by(self, name: str, **arguments: object) -> Job:
        """The base's job with another attack, one draw a gradient."""
        attack = ATTACKS.get(name)(**arguments)
        task = self.base.job.task
        searched = task.precision if attack.mixes else task.precision.replace("mixed", "float32")
        return replace(
            self.base.job,
            attack=attack_id(attack),
            eot=1,
            task=replace(task, precision=searched),
            fixed_batch=self.base.job.fixed_batch if self.base.job.is_uncut else 0,
        )

    def _row(self, kind: Kind, job: Job, suffix: str = "") -> PlannedAttack:
        mode = f":{job.gradient}" if ":" in self.base.id else ""
        name = f"diagnosis-{kind}{suffix}{mode}"
        return replace(
            self.base,
            id=name,
            job=replace(job, row=name),
            column=None,
            counts=False,
            diagnosis=Diagnosed(kind=kind, of=self.base.id, images=self.asked.images),
        )
