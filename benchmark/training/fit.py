"""`bench train` as one function: from names to a recipe, a setting and a weights file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from benchmark.compute.determinism import choose_device, fix_numerics
from benchmark.compute.sandbox import sandboxed
from benchmark.engine.arguments import parameters_of, refuse_arguments
from benchmark.engine.dataset import Dataset, images_of
from benchmark.engine.victims.acceptance import accept
from benchmark.engine.victims.classifier import Classifier
from benchmark.engine.victims.defense import Defense
from benchmark.engine.victims.setting import Setting
from benchmark.errors import BenchError
from benchmark.evaluation.prepare.loading import (
    data_folder,
    load_classifier,
    load_task,
    make_source,
)
from benchmark.evaluation.prepare.request import Request, make_defenses
from benchmark.expression import stages_of
from benchmark.files.weights import default_weights_path, finds_unnamed
from benchmark.identity.content_names import without_content
from benchmark.plugins import RECIPES
from benchmark.recipe import Recipe
from benchmark.records.provenance import LENGTH, Behind, TrainedFor
from benchmark.training.loop import Report, train
from benchmark.training.record import TrainingOptions, plain_arguments


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """One training run.

    Args:
        request: The defense (one, by name), its arguments, classifier, dataset, threat, seed and device.
        recipe_args: Arguments of its recipe, which come before those of the defense.
        companions: Further classifiers that it is trained for, by name; the recipe's argument `companions`.
        out: The weights file; None for the folder where `bench run` looks.
        threads: Of torch's loops on the CPU; the same bits come only from the same number. None: torch's own.
        options: What else the training is told; seed and precision are the request's.
    """

    request: Request
    recipe_args: Mapping[str, Any] = field(default_factory=dict)
    companions: tuple[str, ...] = ()
    out: Path | None = None
    threads: int | None = None
    options: TrainingOptions = field(default_factory=TrainingOptions)


@dataclass(frozen=True, slots=True)
class TrainedWeights:
    """The weights of a trained defense.

    Args:
        path: The file.
        is_found: Whether an evaluation that names no weights finds it.
    """

    path: Path
    is_found: bool


def fit_defense(fit: Fit, report: Report | None = None) -> TrainedWeights:
    """Trains a defense for one classifier on one dataset.

    Raises:
        BenchError: It is not trained, or the request cannot be met.
    """
    request = fit.request
    fix_numerics(fit.threads)
    defense = _one_defense(request)
    if defense.recipe is None:
        raise BenchError(f"defense {defense.name!r} has nothing to be trained")
    dataset, setting = _setting(request)
    model = request.model or dataset.model
    if not isinstance(model, str) or not model:
        raise BenchError(f"name the classifier to defend on {dataset.name!r} with --model")
    classifier = load_classifier(
        model, dataset=dataset, folder=data_folder(request.data), device=setting.device
    )
    if dataset.has_open_classes:
        dataset = dataset.with_classes(classifier.classes)
        setting = replace(setting, classes=dataset.classes)
    _accept(classifier, dataset, setting)
    recipe = _recipe(defense, fit)
    companions = _companions(recipe, classifier, dataset, request, setting)
    classifiers = [classifier, *(companions[name] for name in fit.companions if name in companions)]
    if len({each.name for each in classifiers}) <= len(fit.companions):
        raise BenchError("a classifier is named twice with --model; name each once")
    said = _statement(defense, recipe, classifiers, setting, fit)
    names = {"label": said.defense, "classifier": "&".join(said.names), "dataset": dataset.name}
    out = fit.out or default_weights_path(**names)
    with sandboxed(f"training {defense.name!r}"):
        train(
            recipe,
            replace(setting, classifier=classifier, companions=companions),
            dataset,
            out=out,
            options=replace(_options(fit), trained_for=said),
            progress=report,
        )
    return TrainedWeights(out, is_found=finds_unnamed(out, type(defense), **names))


def _accept(classifier: Classifier, dataset: Dataset, setting: Setting) -> None:
    images = images_of(dataset, "train", torch.arange(2))
    accept(classifier, images.to(setting.device, setting.dtype), dataset)


def _statement(
    defense: Defense,
    recipe: Recipe,
    classifiers: Sequence[Classifier],
    setting: Setting,
    fit: Fit,
) -> TrainedFor:
    """What the weights are to say of themselves."""
    return TrainedFor(
        defense=defense.label(setting.shape),
        classifiers=tuple(Behind(name=each.name, sha256=each.sha256) for each in classifiers),
        dataset=setting.dataset,
        shape=setting.shape,
        threat=str(setting.threat),
        recipe=f"{type(recipe).__module__}:{type(recipe).__qualname__}",
        arguments=plain_arguments(recipe),
        images=fit.options.images,
        seed=fit.request.seed,
    )


def fit_classifier(
    name: str, fit: Fit, *, is_adversarial: bool, report: Report | None = None
) -> Path:
    """Trains one of this project's classifiers; returns its weights file.

    Raises:
        BenchError: It is not trained here, is for another dataset, or `fit.out` is missing for one that ships.
    """
    fix_numerics(fit.threads)
    source = make_source(name)
    request = fit.request
    if request.dataset is None:
        request = replace(request, dataset=source.dataset)
    dataset, setting = _setting(request)
    if source.dataset not in (dataset.name, without_content(dataset.name)):
        raise BenchError(
            f"classifier {name!r} is for {source.dataset}, not for {dataset.name}; "
            f"add --dataset {source.dataset}"
        )
    if fit.companions:
        raise BenchError("a classifier is trained alone: leave out --model")
    out = fit.out or source.trained_file()
    if out is None:
        raise BenchError(
            "training this classifier needs --out FILE.safetensors: the shipped one stays as it is"
        )
    options = _options(fit)
    with sandboxed(f"training {name!r}"):
        recipe = source.recipe(is_adversarial=is_adversarial)
        return train(recipe, setting, dataset, out=out, options=options, progress=report)


def _options(fit: Fit) -> TrainingOptions:
    return replace(fit.options, seed=fit.request.seed, precision=fit.request.precision)


def _companions(
    recipe: Recipe, classifier: Classifier, dataset: Dataset, request: Request, setting: Setting
) -> dict[str, Classifier]:
    """The further classifiers that a recipe asks for."""
    wanted = dataset.surrogates if recipe.companions is None else recipe.companions
    folder = data_folder(request.data)
    return {
        name: load_classifier(name, dataset=dataset, folder=folder, device=setting.device)
        for name in wanted
        if name != classifier.name
    }


def _setting(request: Request) -> tuple[Dataset, Setting]:
    if not isinstance(request.dataset, str | None):
        raise BenchError("training takes a dataset by name")
    dataset, threat = load_task(
        request.dataset, request.model, request.threat, folder=data_folder(request.data)
    )
    return dataset, Setting(
        dataset=dataset.name,
        shape=dataset.shape,
        classes=dataset.classes,
        threat=threat,
        device=choose_device(request.device),
        dtype=torch.float32,
    )


def _one_defense(request: Request) -> Defense:
    """The defense to be trained.

    Raises:
        BenchError: It is a chain, an expression, or one that says what it was trained for.
    """
    stages = stages_of(request.expression)
    names = list(dict.fromkeys(stage.name for stage in stages))
    if len(stages) != 1:
        raise BenchError(
            f"defense {request.defense!r} is put together of several: train its stages one by one, each with "
            f"its own bench train --defense ({', '.join(names)})"
        )
    if str(request.expression) != names[0]:
        raise BenchError(
            f"defense {request.defense!r}: training takes a name alone, and the classifiers that it is trained "
            f"for with --model; such as bench train --defense {names[0]} --model digits-cnn"
        )
    return make_defenses(request)[0]


def _recipe(defense: Defense, fit: Fit) -> Recipe:
    """The recipe, with those of the defense's arguments that it takes too (its length is its own)."""
    kind = RECIPES.get(defense.recipe or "")
    known, given = parameters_of(kind), dict(fit.recipe_args)
    if fit.companions and "companions" not in known:
        raise BenchError(
            f"defense {defense.name!r} is trained for one classifier at a time (its recipe takes no "
            f"companions): give --model once"
        )
    if fit.companions and "companions" in given:
        raise BenchError("give the further classifiers with --model or as companions, not both")
    refuse_arguments(given, kind, what=f"the recipe of {defense.name!r}")
    if fit.companions:
        given["companions"] = list(fit.companions)
    own = defense.arguments()
    shared = {name: own[name] for name in own if name in known and name not in LENGTH}
    for name in given.keys() & shared.keys():
        if given[name] != shared[name]:
            raise BenchError(
                f"{name!r} is the defense's own argument, by which its weights are told apart: give it as "
                f"--defense-arg {name}={given[name]}, in training and in bench run"
            )
    with sandboxed(f"the recipe of {defense.name!r}: making it"):
        return kind(**{**shared, **given})
