"""The command that makes an entry again, from what was prepared for it."""

from __future__ import annotations

import shlex

from benchmark.classifiers.file import TypedFile
from benchmark.evaluation.execute.kept_images import wanted_images
from benchmark.evaluation.prepare.loading import published_name
from benchmark.evaluation.prepare.prepare import Prepared
from benchmark.expression import Model, Models, is_expression, parse_model
from benchmark.files.locations import pinned
from benchmark.records.protocol import PRECISION


def command_of(ready: Prepared) -> str:
    """The command that makes an entry again; for objects from Python, what it would be with their names."""
    request, protocol = ready.request, ready.protocol.name
    kept, by_default = (wanted_images(asked, protocol) for asked in (request.keep_images, None))
    options = {
        "defense": request.defense if isinstance(request.defense, str) else ready.label,
        **_typed_model(ready),
        "dataset": request.dataset if isinstance(request.dataset, str) else ready.dataset.name,
        "threat": str(ready.task.threat),
        "protocol": request.protocol if isinstance(request.protocol, str) else protocol,
        "samples": len(ready.order),
        "seed": request.seed,
        "order": None if request.order == "nested" else request.order,
        "classes": ",".join(map(str, request.only_classes)) or None,
        "precision": None if request.precision == PRECISION else request.precision,
        "weights": None if request.weights is None else pinned(request.weights),
        "keep-images": None if kept == by_default else kept or "none",
    }
    words = ["bench", "run"]
    for name, value in options.items():
        words += [] if value is None else [f"--{name}", str(value)]
    for key, value in request.defense_args.items():
        words += ["--defense-arg", f"{key}={value}"]
    return shlex.join(words)


def _typed_model(ready: Prepared) -> dict[str, str]:
    """The classifier as the command takes it; nothing where the expression names it."""
    model = ready.request.model
    if isinstance(ready.request.defense, str) and is_expression(ready.request.defense):
        return {}
    if not isinstance(model, str):
        return {"model": ready.classifier.name}
    return {"model": str(_pinned(parse_model(model), ready.dataset.name))}


def _pinned(model: Model, dataset: str) -> Model:
    """A classifier as it was typed, files by what they hold, RobustBench's short names in full."""
    if isinstance(model, Models):
        return Models(tuple(_pinned(member, dataset) for member in model.members))
    if model.startswith("file:"):
        return TypedFile.parse(model).pinned()
    return model if ":" in model else str(published_name(model, dataset))
