"""Tasks of a paper's protocol: what a command leaves open comes from the table that the protocol repeats."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

from benchmark.classifiers.catalog import home_of
from benchmark.classifiers.zoo_names import resolve
from benchmark.evaluation.prepare.request import Request
from benchmark.expression import model_of, names_in
from benchmark.records.protocol import Protocol
from benchmark.records.unranked import Paper

DEFAULT = ("none", "atop")
"""The defenses of a command that names none."""


def defenses_of(protocol: Protocol, typed: Sequence[str]) -> list[str]:
    """The defenses of a command: those typed, else none and the paper's, else none and AToP."""
    paper = ("none", *protocol.paper.defenses) if protocol.paper else DEFAULT
    return list(dict.fromkeys(typed or paper))


def tasks_of(protocol: Protocol, wanted: Sequence[Request], models: Sequence[str]) -> list[Request]:
    """One request for each threat, classifier and defense of a command, each once.

    A paper's classifiers and threats belong to its dataset: where the command names another dataset, or a
    classifier for another one, nothing of a request is the paper's.

    The `wanted` are one for each defense, without a classifier; what the command leaves open is None in them.

    Raises:
        BenchError: A classifier cannot be read, or stands beside a defense that names its own.
    """
    paper = protocol.paper
    if paper is None:
        found = [replace(one, model=model) for model in models or (None,) for one in wanted]
    else:
        found = [task for one in wanted for task in _of_paper(paper, one, models)]
        found.sort(
            key=lambda task: (_rank(paper.threats, task.threat), _rank(paper.models, task.model))
        )
    return list({(one.defense, one.model, one.dataset, one.threat): one for one in found}.values())


def _of_paper(paper: Paper, wanted: Request, models: Sequence[str]) -> list[Request]:
    named = model_of(wanted.expression)
    typed = models if named is None else [str(named)]
    leaves = [leaf for model in typed for leaf in names_in(model)]
    is_its_dataset = wanted.dataset in (None, paper.dataset) and all(
        home_of(leaf) in (None, paper.dataset) or resolve(leaf, paper.dataset) for leaf in leaves
    )
    if not is_its_dataset:
        return [replace(wanted, model=model) for model in models or (None,)]
    own = [] if named is not None else paper.models
    threats = [wanted.threat] if wanted.threat else paper.threats
    return [
        replace(wanted, model=model, dataset=paper.dataset, threat=threat)
        for threat, model in itertools.product(threats, models or own or (None,))
    ]


def _rank(known: Sequence[str], value: object) -> int:
    return known.index(value) if value in known else len(known)
