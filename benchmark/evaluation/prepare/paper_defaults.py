"""Tasks of a paper's protocol: what a command leaves open comes from the table that the protocol repeats."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from benchmark.classifiers.catalog import home_of
from benchmark.classifiers.zoo_names import resolve
from benchmark.expression import leaves_of, model_of, parse_defense, parse_model
from benchmark.records.protocol import Paper, Protocol

DEFAULT = ("none", "atop")
"""The defenses of a command that names none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Typed:
    """What a command names.

    Args:
        defenses: As typed.
        models: Likewise.
        dataset: None where it was left open.
        threat: Likewise.
    """

    defenses: Sequence[str]
    models: Sequence[str]
    dataset: str | None
    threat: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One evaluation of a command; None is what follows from the rest, as without a paper."""

    defense: str
    model: str | None
    dataset: str | None
    threat: str | None


def defenses_of(protocol: Protocol, typed: Typed) -> list[str]:
    """The defenses of a command: those typed, else none and the paper's, else none and AToP."""
    if typed.defenses:
        found = typed.defenses
    elif protocol.paper is not None:
        found = ["none", *protocol.paper.defenses]
    else:
        found = DEFAULT
    return list(dict.fromkeys(found))


def tasks_of(protocol: Protocol, typed: Typed) -> list[Task]:
    """One task for each threat, classifier and defense of a command, each once.

    A paper's classifiers and threats belong to its dataset: where the command names another dataset, or a
    classifier for another one, nothing of the task is the paper's.

    Raises:
        BenchError: A defense or a classifier cannot be read.
    """
    defenses, paper = defenses_of(protocol, typed), protocol.paper
    if paper is None:
        pairs = itertools.product(typed.models or (None,), defenses)
        found = [_task(typed, defense, model) for model, defense in pairs]
    else:
        found = [task for defense in defenses for task in _of_paper(paper, typed, defense)]
        found.sort(
            key=lambda task: (_rank(paper.threats, task.threat), _rank(paper.models, task.model))
        )
    return list(dict.fromkeys(found))


def _of_paper(paper: Paper, typed: Typed, defense: str) -> list[Task]:
    named = model_of(parse_defense(defense))
    models = map(parse_model, typed.models) if named is None else [named]
    leaves = [leaf for model in models for leaf in leaves_of(model)]
    is_its_dataset = typed.dataset in (None, paper.dataset)
    if not is_its_dataset or not all(_is_for(leaf, paper.dataset) for leaf in leaves):
        return [_task(typed, defense, model) for model in typed.models or (None,)]
    own = [] if named is not None else paper.models
    threats = [typed.threat] if typed.threat else paper.threats
    return [
        Task(defense=defense, model=model, dataset=paper.dataset, threat=threat)
        for threat, model in itertools.product(threats, typed.models or own or (None,))
    ]


def _is_for(model: str, dataset: str) -> bool:
    """Whether a classifier may be one of a dataset's, as far as its name says."""
    return home_of(model) in (None, dataset) or resolve(model, dataset) is not None


def _task(typed: Typed, defense: str, model: str | None) -> Task:
    return Task(defense=defense, model=model, dataset=typed.dataset, threat=typed.threat)


def _rank(known: Sequence[str], value: str | None) -> int:
    return known.index(value) if value in known else len(known)
