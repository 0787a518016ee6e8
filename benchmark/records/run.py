"""What a run hands to publishing: the plan, its facts, and every result; no torch from here on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from benchmark.engine.threat import Knowledge
from benchmark.records.diagnosis import Examined
from benchmark.records.diagnosis import Kind as Kind
from benchmark.records.gradients import MeasuredGradients
from benchmark.records.job import Job
from benchmark.records.missing_rows import Missing
from benchmark.records.protocol import Column, Protocol
from benchmark.records.provenance import Provenance
from benchmark.records.result import Result
from benchmark.records.task import Task

DefenseMeasurement = Examined
"""As an entry keeps it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosed:
    """What makes a row a diagnosis.

    Args:
        kind: What it varies.
        of: Id of the row that it is held against.
        images: It takes the first so many.
    """

    kind: Kind
    of: str
    images: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedAttack:
    """One job in its place in a protocol.

    Args:
        id: The row's id, with the gradient mode behind it where the protocol asks for several (`pgd:bpda`), and
            the classifier's name where a source is made on several.
        job: The job.
        column: The family it belongs to; None for a source and for a diagnosis.
        knowledge: What the attacker knows.
        counts: Whether it enters the worst case.
        diagnosis: Where it tests the evaluation itself: what it varies.
    """

    id: str
    job: Job
    column: Column | None
    knowledge: Knowledge
    counts: bool
    diagnosis: Diagnosed | None = None

    def images(self, n: int) -> int:
        """How many of a run's n images it takes."""
        return min(n, self.diagnosis.images) if self.diagnosis else n


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A finished run of one defense on one classifier under one protocol.

    Args:
        task: What was classified, and how.
        label: The published name (`atop[digits]`, `atop[digits]+jpeg`, `none`).
        is_stochastic: Whether draws matter.
        gradient: What the defense declares: exact, almost-everywhere or none (the weakest of a chain).
        measured: The gradients of the victim that it makes.
        is_add_on: Whether the classifier stays frozen and its own.
        indices: Index of each evaluated image into its split, in the dataset's order.
        labels: True label of each of them.
        training: What the weights of each purifier were trained for; None where it has none.
        protocol: How it was attacked.
        rows: Every job of the plan, sources included.
        results: For each job's key its shards in order; a missing shard is missing here.
        skipped: Rows that could not be planned, each with its reason: gaps, or not applicable.
        command: The command that makes the entry again.
        examination: What was measured of the purifiers themselves.
    """

    task: Task
    label: str
    is_stochastic: bool
    gradient: str
    measured: MeasuredGradients | None = None
    is_add_on: bool = True
    indices: tuple[int, ...]
    labels: tuple[int, ...]
    training: tuple[Provenance | None, ...] = ()
    protocol: Protocol
    rows: tuple[PlannedAttack, ...]
    results: Mapping[str, tuple[Result, ...]]
    skipped: Mapping[str, Missing]
    command: str
    examination: tuple[DefenseMeasurement, ...] = ()
