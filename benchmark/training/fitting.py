"""`bench train` as one function: from names to a recipe, a setting and a weights file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from benchmark.classifier import Classifier
from benchmark.configuration import parameters_of, refuse_arguments
from benchmark.containment import contained
from benchmark.dataset import Dataset
from benchmark.defense import Defense
from benchmark.errors import BenchError
from benchmark.loading import data_folder, load_classifier, load_task, make_source
from benchmark.numerics import choose_device, fix_numerics
from benchmark.recipe import Recipe
from benchmark.registry import Registry
from benchmark.running.request import Request, make_defenses
from benchmark.setting import Setting
from benchmark.training.loop import train
from benchmark.training.record import TrainingOptions
from benchmark.weights import default_weights_path

RECIPES: Registry[Recipe] = Registry(
    "recipe", base="benchmark.recipe:Recipe", group="purifybench.recipes"
)

Report = Callable[[int, int, dict[str, float]], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """One training run.

    Args:
        request: The defense (one, by name), its arguments, classifier, dataset, threat, seed and device.
        recipe_args: Arguments of its recipe, which come before those of the defense.
        out: The weights file; None for the folder where `bench run` looks.
        is_half: Whether the weights are stored as float16.
        command: The command line, for the training record.
        threads: Of torch's loops on the CPU; the same bits come only from the same number. None: torch's own.
    """

    request: Request
    recipe_args: Mapping[str, Any] = field(default_factory=dict)
    out: Path | None = None
    is_half: bool = False
    command: str = ""
    threads: int | None = None


def fit_defense(fit: Fit, report: Report | None = None) -> Path:
    """Trains a defense for one classifier on one dataset; returns its weights file.

    Raises:
        BenchError: It is not trained, or the request cannot be met.
    """
    request = fit.request
    fix_numerics(fit.threads)
    defenses = make_defenses(request)
    if len(defenses) != 1:
        raise BenchError(f"defense {request.defense!r} is a chain: train its stages one by one")
    defense = defenses[0]
    if defense.recipe is None:
        raise BenchError(f"defense {defense.name!r} has nothing to be trained")
    dataset, setting = _setting(request)
    model = request.model or dataset.model
    if not isinstance(model, str) or not model:
        raise BenchError(f"name the classifier to defend on {dataset.name!r} with --model")
    classifier = load_classifier(
        model, dataset=dataset, folder=data_folder(request.data), device=setting.device
    )
    recipe = _recipe(defense, fit.recipe_args)
    companions = _companions(recipe, classifier, dataset, request, setting)
    out = fit.out or default_weights_path(
        label=defense.label(dataset.shape), classifier=classifier.name, dataset=dataset.name
    )
    with contained(f"training {defense.name!r}"):
        return train(
            recipe,
            replace(setting, classifier=classifier, companions=companions),
            dataset,
            out=out,
            options=_options(fit),
            progress=report,
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
    if source.dataset != dataset.name:
        raise BenchError(
            f"classifier {name!r} is for {source.dataset}, not for {dataset.name}; "
            f"add --dataset {source.dataset}"
        )
    out = fit.out or source.trained_file()
    if out is None:
        raise BenchError(
            "training this classifier needs --out FILE.safetensors: the shipped one stays as it is"
        )
    options = _options(fit)
    with contained(f"training {name!r}"):
        recipe = source.recipe(is_adversarial=is_adversarial)
        return train(recipe, setting, dataset, out=out, options=options, progress=report)


def _options(fit: Fit) -> TrainingOptions:
    return TrainingOptions(
        seed=fit.request.seed,
        command=fit.command,
        precision=fit.request.precision,
        is_half=fit.is_half,
    )


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


def _recipe(defense: Defense, given: Mapping[str, Any]) -> Recipe:
    """The recipe, with those of the defense's arguments that it takes too."""
    kind = RECIPES.get(defense.recipe or "")
    refuse_arguments(given, kind, what=f"the recipe of {defense.name!r}")
    known = parameters_of(kind)
    shared = {name: value for name, value in defense.arguments().items() if name in known}
    with contained(f"the recipe of {defense.name!r}: making it"):
        return kind(**{**shared, **given})
