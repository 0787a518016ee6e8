"""Names, arguments and numbers of a request: those that nobody has are refused before torch is started.

What only a plugin's own code knows is left to `benchmark.evaluation.prepare.prepare`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmark.classifiers.catalog import CLASSIFIERS, home_of, refuse_unknown_classifier
from benchmark.compute.device_names import device_parts
from benchmark.compute.imports import imported, refuse_absent
from benchmark.compute.module_sources import arguments_in, constant_in
from benchmark.datasets.paths import refuse_missing_place
from benchmark.engine.arguments import refuse_names
from benchmark.engine.threat import Threat
from benchmark.errors import BenchError
from benchmark.evaluation.prepare.request import Request, arguments_by_stage
from benchmark.expression import leaves_of, names_in, stages_of
from benchmark.files.paths import existing, is_remote
from benchmark.files.user_folders import data_folder
from benchmark.plugins import ATTACKS, DATASETS, DEFAULT_DATASET, DEFENSES, RECIPES
from benchmark.records.protocol import BARE, SURROGATES, Protocol, made_on
from benchmark.registry import Registry, unknown


def refuse_unknown(request: Request) -> None:
    """Refuses a request that names what there is not.

    Raises:
        BenchError: It names no device, folder, defense, argument, dataset, classifier or threat that there is.
    """
    device_parts(request.device)
    data_folder(request.data)
    stages = stages_of(request.expression)
    given = arguments_by_stage(stages, request.defense_args)
    for stage, arguments in zip(stages, given, strict=True):
        refuse_plugin(DEFENSES, stage.name, arguments)
    if isinstance(request.dataset, str):
        refuse_missing_place(request.dataset)
        if not request.dataset.startswith(("npz:", "folder:")):
            DATASETS.path_of(request.dataset)
    if request.weights is not None and not is_remote(str(request.weights)):
        existing(str(request.weights))
    if isinstance(request.threat, str):
        Threat.parse(request.threat)
    trained = [leaf for stage in stages for model in stage.trained for leaf in leaves_of(model)]
    # with an @ it may be what an entry calls somebody's file
    trained = [leaf for leaf in trained if "@" not in leaf]
    refuse_models([*names_in(request.classifier), *trained], request.dataset)


def is_attack(name: str) -> bool:
    """Whether a plugin is an attack, not a defense: a class says so itself, a name by where it is registered.

    Raises:
        BenchError: It is neither, or a name is both.
    """
    if ":" in name and name.replace(":", ".").replace(".", "").isidentifier():
        refuse_absent(name, what="plugin")
        found, base = imported(name, what="plugin"), imported(ATTACKS.base, what="attack")
        return isinstance(found, type) and issubclass(found, base)
    paths = [shelf.paths()[name] for shelf in (DEFENSES, ATTACKS) if name in shelf.paths()]
    if len(paths) == 2:
        raise BenchError(
            f"{name!r} is a defense and an attack: name the class that is meant, {' or '.join(paths)}"
        )
    if not paths and name.replace("-", "_").isidentifier() and not DEFENSES.meant(name):
        raise unknown("defense or attack", name, [*DEFENSES.names(), *ATTACKS.names()])
    return name in ATTACKS.paths()


def refuse_protocol(protocol: Protocol) -> None:
    """Refuses a protocol that names what there is not.

    Raises:
        BenchError: It is an attack, an argument of one, or a classifier that images for transfer are made on.
    """
    for row in protocol.attacks:
        refuse_plugin(ATTACKS, row.attack, row.arguments)
    for source in protocol.sources:
        refuse_plugin(ATTACKS, source.attack, source.arguments)
        for name in leaves_of(made_on(source.against)):
            if name not in (BARE, SURROGATES):
                refuse_unknown_classifier(name, None)


def refuse_training(
    request: Request, recipe_args: Mapping[str, Any], classifier: str | None
) -> None:
    """Refuses a training that names what there is not.

    Args:
        request: Whose defense is trained.
        recipe_args: Arguments of its recipe.
        classifier: The one that is trained in the place of a defense; None where there is none.

    Raises:
        BenchError: As `refuse_unknown`; or the recipe takes no such argument.
    """
    refuse_unknown(request)
    if classifier is not None:
        CLASSIFIERS.path_of(classifier)
        return
    stages = stages_of(request.expression)
    recipe = constant_in(*_parts(DEFENSES, stages[0].name), "recipe") if len(stages) == 1 else None
    if recipe is not None:
        refuse_plugin(RECIPES, recipe, recipe_args, what=f"the recipe of {stages[0].name!r}")


def refuse_plugin(
    registry: Registry[Any], name: str, arguments: Mapping[str, Any], *, what: str = ""
) -> None:
    """Refuses a plugin that there is not, or arguments that it does not take, as far as its text says.

    Raises:
        BenchError: One of these is so.
    """
    known = arguments_in(*_parts(registry, name))
    if known is not None:
        refuse_names(arguments, known, what=what or f"{registry.kind} {name!r}")


def refuse_models(names: Sequence[str], dataset: object) -> None:
    """Refuses classifiers that nobody has.

    Args:
        names: As they were typed, ensembles taken apart.
        dataset: The dataset as it was typed, whose name is known where it is one of this project's; None for
            that of the classifiers.

    Raises:
        BenchError: There is one.
    """
    if dataset is None:
        dataset = next((home for name in names if (home := home_of(name))), None)
        if dataset is None and all(":" in name for name in names):
            dataset = DEFAULT_DATASET
    known = dataset if isinstance(dataset, str) and dataset in DATASETS.own() else None
    for name in names:
        refuse_unknown_classifier(name, known)


def _parts(registry: Registry[Any], name: str) -> tuple[str, str]:
    module, _, attribute = registry.path_of(name).partition(":")
    return module, attribute
