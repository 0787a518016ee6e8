"""Costs of protocols, counted by their attacks' own word for one image of a task of the usual size."""

from __future__ import annotations

from torch import nn

from benchmark.classifier import Classifier
from benchmark.configuration import parameters_of
from benchmark.evaluated import Row
from benchmark.files import write_whole
from benchmark.job import Plugin
from benchmark.protocol import AttackRow, Protocol, SourceRow, load_protocol, protocol_names
from benchmark.protocol_costs import FILE, Costs, ProtocolCost, Spent
from benchmark.running.estimate import Measures, passes_of, verdict_passes
from benchmark.running.plan import Subjects, make_plan
from benchmark.shelf import ATTACKS
from benchmark.threat import Norm, Threat

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
    write_whole(FILE, Costs(found).model_dump_json(indent=1).encode() + b"\n")


def _without_missing(protocol: Protocol) -> tuple[Protocol, tuple[str, ...]]:
    """The protocol without the rows of attacks, or of arguments, that there are not; and what they lack."""
    rows: list[SourceRow | AttackRow] = [*protocol.sources, *protocol.attacks]
    lacks = {row.id: _lack(row) for row in rows}
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
    """The sum over all jobs, and the rows that do not say what they cost."""
    rows, _ = make_plan(protocol, _subjects(is_stochastic=is_stochastic))
    once = {row.job.key: row for row in rows}
    measures = Measures(classes=CLASSES, shape=SHAPE, is_stochastic=is_stochastic)
    spent = dict.fromkeys(Spent.model_fields, 0)
    unknown = []
    for row in once.values():
        found = _of_row(row, once, measures)
        if found is None:
            unknown.append(row.id)
            continue
        for name, value in found.items():
            spent[name] += value
    return Spent(**spent), tuple(unknown)


def _of_row(row: Row, rows: dict[str, Row], measures: Measures) -> dict[str, int] | None:
    passes = passes_of(row.job, rows, measures)
    if passes is None:
        return None
    return {
        "jobs": 1,
        "forwards": passes.forwards,
        "backwards": passes.backwards,
        "auxiliary": passes.auxiliary,
        "verdicts": verdict_passes(
            row.job, passes.candidates, is_stochastic=measures.of(row.job).is_stochastic
        ),
    }


def _subjects(*, is_stochastic: bool) -> Subjects:
    """A defense with an exact gradient before a classifier, and two surrogates, none of which is ever asked."""
    names = ["victim", *(f"surrogate-{i}" for i in range(SURROGATES))]
    victim, *others = (
        Classifier(nn.Identity(), name=name, classes=CLASSES, sha256=name) for name in names
    )
    return Subjects(
        defenses=[],
        plugins=(Plugin("", "", "{}", ""),),
        is_stochastic=is_stochastic,
        classifier=victim,
        surrogates={other.name: other for other in others},
        dataset="",
        split="test",
        classes=CLASSES,
        threat=Threat(Norm.LINF, 8 / 255),
        precision="float32",
        seed=0,
    )


if __name__ == "__main__":
    write_costs()
