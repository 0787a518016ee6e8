"""Weights that a request needs and nobody has: named all at once, each with the command that trains it."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from benchmark.engine.dataset import Dataset
from benchmark.engine.victims.defense import Defense
from benchmark.errors import BenchError, WeightsMissing
from benchmark.evaluation.prepare.given_networks import module_name
from benchmark.evaluation.prepare.loading import data_folder, load_task, published_name
from benchmark.evaluation.prepare.request import (
    Request,
    arguments_by_stage,
    expression_of,
    make_defenses,
    model_named,
)
from benchmark.expression import Model, Stage, chains_of, parse_model
from benchmark.files.weights import find_weights


@dataclass(frozen=True, slots=True)
class Lack:
    """A defense without weights for what it is asked to stand before.

    Args:
        defense: What the user calls it.
        models: The classifiers that it has to be trained for, the defended one first.
        dataset: The dataset's name.
        arguments: Of the defense, as given.
    """

    defense: str
    models: tuple[str, ...]
    dataset: str
    arguments: Mapping[str, Any] = field(default_factory=dict)

    @property
    def command(self) -> str:
        """What trains it."""
        words = ["bench", "train", "--defense", self.defense]
        for model in self.models:
            words += ["--model", model]
        words += ["--dataset", self.dataset]
        for key, value in self.arguments.items():
            words += ["--defense-arg", f"{key}={value}"]
        return shlex.join(words)

    def __str__(self) -> str:
        return f"{self.defense} has no weights for {' and '.join(self.models)} on {self.dataset}"


def refuse_lacks(lacks: Iterable[Lack]) -> None:
    """Refuses where weights are missing.

    Raises:
        WeightsMissing: There is at least one.
    """
    found = list(lacks)
    if found:
        raise weights_missing(found)


def weights_missing(lacks: Iterable[Lack]) -> WeightsMissing:
    """One line with everything that is missing, and how it comes to be."""
    once = {lack.command: lack for lack in lacks}
    return WeightsMissing(
        f"{'; '.join(map(str, once.values()))}; train them with: {' && '.join(once)} (or add --train, or give "
        f"--weights FILE, URL or hf:org/name)"
    )


def lacks_of(request: Request) -> list[Lack]:
    """The weights that a request needs and that are not there; no classifier is loaded.

    Raises:
        BenchError: The request names something that there is not, or cannot be read.
    """
    model, expression = model_named(request), expression_of(request)
    folder = data_folder(request.data)
    dataset, _ = load_task(request.dataset, model, request.threat, folder=folder)
    stages = [(chain, stage) for chain in chains_of(expression) for stage in chain.stages]
    defenses = make_defenses(request)
    given = arguments_by_stage([stage for _, stage in stages], request.defense_args)
    found: list[Lack] = []
    said = request.identity
    for (chain, stage), defense, arguments in zip(stages, defenses, given, strict=True):
        typed = stage.trained or (chain.model or model or dataset.model,)
        names = "&".join(_published(one, dataset, folder, said) for one in typed)
        if defense.needs_weights and not request.weights and not _has(defense, names, dataset):
            models = tuple(_typed(one, said) for one in typed)
            found.append(Lack(stage.name, models, dataset.name, arguments))
    return found


def trained_names(stage: Stage, dataset: str, *, folder: Path | None = None) -> tuple[str, ...]:
    """The classifiers that a stage says it was trained for, as entries call them.

    Args:
        stage: As it was typed.
        dataset: The dataset's name.
        folder: The data folder; None for the usual one.

    Raises:
        BenchError: One is nobody's name.
    """
    return tuple(published_name(model, dataset, folder=folder) for model in stage.trained)


def _has(defense: Defense, names: str, dataset: Dataset) -> bool:
    found = find_weights(
        type(defense),
        label=defense.label(dataset.shape),
        classifier=names,
        dataset=dataset.name,
    )
    return found is not None


def _published(model: Model | nn.Module, dataset: Dataset, folder: Path, said: str) -> str:
    if isinstance(model, nn.Module):
        return _typed(model, said)
    if not model:
        raise BenchError(
            f"dataset {dataset.name!r} has no default classifier; name one with --model"
        )
    parsed = parse_model(model) if isinstance(model, str) else model
    return published_name(parsed, dataset.name, folder=folder)


def _typed(model: Model | nn.Module, said: str) -> str:
    """A classifier as the command line takes it; one from Python by the name that entries give it."""
    return module_name(model, said) if isinstance(model, nn.Module) else str(model)
