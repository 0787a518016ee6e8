"""Requests resolved: dataset, threat, purifiers and their weights, before any classifier is loaded."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from benchmark.engine.dataset import Dataset
from benchmark.engine.threat import Threat
from benchmark.engine.victims.defense import Defense
from benchmark.errors import BenchError, WeightsMissing
from benchmark.evaluation.prepare.given_networks import module_name
from benchmark.evaluation.prepare.loading import data_folder, load_task, published_name
from benchmark.evaluation.prepare.request import Request, arguments_by_stage, make_defenses
from benchmark.expression import Model, StageSpec, chains_of, parse_model
from benchmark.files.weights import find_weights


@dataclass(frozen=True, slots=True)
class MissingWeights:
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


def weights_missing(missing: Iterable[MissingWeights]) -> WeightsMissing:
    """One line with everything that is missing, and how it comes to be."""
    once = {each.command: each for each in missing}
    return WeightsMissing(
        f"{'; '.join(map(str, once.values()))}; train them with: {' && '.join(once)} (or add --train, or give "
        f"--weights FILE, URL or hf:org/name)",
        tuple(once.values()),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundStage:
    """A purifier in its place, not yet prepared.

    Args:
        typed: What the user called it.
        defense: The purifier.
        trained: The classifiers that the user says it was trained for, as entries call them.
        weights: The file of its weights; None where it has none.
    """

    typed: StageSpec
    defense: Defense
    trained: tuple[str, ...] = ()
    weights: Path | None = None


def resolve(request: Request) -> tuple[Dataset, Threat, list[FoundStage]]:
    """Looks up what a request names, and finds the weights that it needs; no classifier is loaded.

    Raises:
        WeightsMissing: Weights are nowhere to be found; it holds all of them.
        BenchError: The request names something that there is not, or weights that none of its purifiers takes.
    """
    folder, model = data_folder(request.data), request.classifier
    dataset, threat = load_task(request.dataset, model, request.threat, folder=folder)
    typed = [(chain, stage) for chain in chains_of(request.expression) for stage in chain.stages]
    defenses = make_defenses(request)
    if request.weights is not None:
        _refuse_weights(defenses)
    given = arguments_by_stage([stage for _, stage in typed], request.defense_args)
    stages: list[FoundStage] = []
    missing: list[MissingWeights] = []
    for (chain, stage), defense, arguments in zip(typed, defenses, given, strict=True):
        models = stage.trained or (chain.model or model or dataset.model,)
        names = tuple(_published(one, dataset, folder, request.identity) for one in models)
        weights = None
        if defense.needs_weights:
            weights = find_weights(
                type(defense),
                label=defense.label(dataset.shape),
                classifier="&".join(names),
                dataset=dataset.name,
                explicit=request.weights,
            )
            if weights is None:
                typed_models = tuple(_typed(one, request.identity) for one in models)
                missing.append(MissingWeights(stage.name, typed_models, dataset.name, arguments))
        elif stage.trained:
            raise BenchError(
                f"defense {str(stage)!r}: {defense.name!r} has no weights, and so was trained for no "
                f"classifier; write {stage.name!r}"
            )
        trained = names if stage.trained else ()
        stages.append(FoundStage(typed=stage, defense=defense, trained=trained, weights=weights))
    if missing:
        raise weights_missing(missing)
    return dataset, threat, stages


def _refuse_weights(defenses: Sequence[Defense]) -> None:
    """Refuses weights that the user named for anything but one purifier that has some."""
    first = defenses[0]
    why = "is part of a chain" if len(defenses) > 1 else "has no weights"
    if len(defenses) > 1 or not first.needs_weights:
        raise BenchError(
            f"--weights goes with one defense that is trained; {first.name!r} {why}: leave it out"
        )


def _published(model: Model | nn.Module, dataset: Dataset, folder: Path, said: str) -> str:
    if isinstance(model, nn.Module):
        return module_name(model, said)
    if not model:
        raise BenchError(
            f"dataset {dataset.name!r} has no default classifier; name one with --model"
        )
    parsed = parse_model(model) if isinstance(model, str) else model
    return published_name(parsed, dataset.name, folder=folder)


def _typed(model: Model | nn.Module, said: str) -> str:
    """A classifier as the command line takes it; one from Python by the name that entries give it."""
    return module_name(model, said) if isinstance(model, nn.Module) else str(model)
