"""Costs of protocols, counted by their attacks' own word for one image of a task of the usual size."""

from __future__ import annotations

from dataclasses import replace
from math import ceil

from benchmark.engine.arguments import parameters_of
from benchmark.engine.threat import Norm, Threat
from benchmark.errors import BenchError
from benchmark.estimate.estimate import context_passes, passes_of, verdict_passes
from benchmark.evaluation.prepare.plan import Plannable, make_plan, unasked
from benchmark.files.atomic import write_whole
from benchmark.plugins import ATTACKS
from benchmark.records.job import Job, PluginId
from benchmark.records.protocol import AttackRow, Protocol, SourceRow
from benchmark.records.protocol_costs import COSTS, FILE, ProtocolCost, Spent
from benchmark.records.protocol_files import load_protocol, protocol_names
from benchmark.records.task import Task
from benchmark.records.unranked import UNRANKED

CLASSES = 10
SHAPE = (3, 32, 32)
SURROGATES = 2


def costs_of(protocol: Protocol) -> ProtocolCost:
    """What a protocol costs for one image, at the most.

    Rows of attacks, or of arguments, that there are not are left out.

    Raises:
        BenchError: An argument is of the wrong kind.
    """
    known, lacks = _without_missing(protocol)
    fixed, unknown = _spent(known, is_stochastic=False)
    random, others = _spent(known, is_stochastic=True)
    names = tuple(dict.fromkeys((*unknown, *others)))
    return ProtocolCost(fixed=fixed, random=random, lacks=lacks, unknown=names)


def write_costs() -> None:
    """Counts every protocol that ships, and writes the file that `bench list protocols` reads."""
    found = {name: costs_of(load_protocol(name)) for name in protocol_names()}
    write_whole(FILE, COSTS.dump_json(found, indent=1) + b"\n")


def _without_missing(protocol: Protocol) -> tuple[Protocol, tuple[str, ...]]:
    """The protocol without the rows of attacks, or of arguments, that there are not; and what they lack."""
    lacks = {row.id: _lack(row) for row in protocol.rows}
    sources = [row for row in protocol.sources if not lacks[row.id]]
    made = {row.id for row in sources}
    attacks = [
        row.model_copy(update={"sources": [source for source in row.sources if source in made]})
        for row in protocol.attacks
        if not lacks[row.id] and (not row.sources or made & set(row.sources))
    ]
    left = protocol.model_copy(update={"sources": sources, "attacks": attacks})
    return left, tuple(sorted({lack for lack in lacks.values() if lack}))


def _lack(row: SourceRow | AttackRow) -> str:
    """The attack's name where there is none of it, or `name(argument)`; empty where it can be made."""
    if ":" not in row.attack and row.attack not in ATTACKS.names():
        return row.attack
    taken = parameters_of(ATTACKS.get(row.attack))
    other = sorted(set(row.arguments) - set(taken))
    return f"{row.attack}({', '.join(other)})" if other else ""


def _spent(protocol: Protocol, *, is_stochastic: bool) -> tuple[Spent, tuple[str, ...]]:
    """The sum over all jobs, and the rows that do not say what they cost, or that no job does.

    What is not ranked is not counted.
    """
    applied = _applied(protocol, is_stochastic=is_stochastic)
    ranked = protocol.model_copy(update=dict.fromkeys(UNRANKED))
    rows, skipped = make_plan(replace(applied, protocol=ranked))
    once = {row.job.key: row for row in rows}
    spent = dict.fromkeys(Spent.model_fields, 0)
    unknown = list(skipped)

    def is_random(job: Job) -> bool:
        return is_stochastic and bool(job.defenses) and not job.knows_draw  # a bare one never is

    for row in once.values():
        passes = passes_of(row.job, once, is_random)
        if passes is None:
            unknown.append(row.id)
            continue
        spent["jobs"] += 1
        spent["forwards"] += passes.forwards + ceil(passes.shared / protocol.shard_size)
        spent["backwards"] += passes.backwards
        spent["auxiliary"] += passes.auxiliary
        spent["verdicts"] += verdict_passes(
            row.job, passes.candidates, is_stochastic=is_random(row.job)
        )
        spent["verdicts"] += context_passes(row.job, passes)
    return Spent(**spent), tuple(unknown)


def _threat(protocol: Protocol) -> Threat:
    """The paper's first, since attacks are made for some threats and not for others; else linf 8/255."""
    usual = Threat(Norm.LINF, 8 / 255)
    if protocol.paper is None:
        return usual
    try:
        return Threat.parse(protocol.paper.threats[0])
    except BenchError:  # a kind of threat that there is not
        return usual


def _applied(protocol: Protocol, *, is_stochastic: bool) -> Plannable:
    """A defense with an exact gradient before a classifier, two surrogates, and the ensembles that it names.

    None of them is ever asked.
    """
    victim, *others = map(unasked, ("victim", *(f"surrogate-{i}" for i in range(SURROGATES))))
    return Plannable(
        protocol=protocol,
        task=Task(dataset="", classes=CLASSES, shape=SHAPE, threat=_threat(protocol)),
        plugins=(PluginId("", "", "{}", ""),),
        is_stochastic=is_stochastic,
        classifier=victim,
        surrogates={other.name: other for other in others},
        ensembles={row.against: unasked(row.against) for row in protocol.sources},
    )


if __name__ == "__main__":
    write_costs()
