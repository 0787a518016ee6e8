"""Training records: what a run is, what decides its weights, and how they came to be."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import resource
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmark.compute.determinism import hardware, peak_memory
from benchmark.engine.arguments import arguments_of
from benchmark.engine.victims.setting import Setting
from benchmark.errors import BenchError
from benchmark.files.known_hashes import file_sha256
from benchmark.identity.closure import closure_of
from benchmark.recipe import Length, Recipe
from benchmark.records.job import MIXED
from benchmark.records.provenance import KEY, TrainedFor
from benchmark.training.checkpoint import Progress

RECORD_SCHEMA = 1
PRECISIONS = ("float32", MIXED)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingOptions:
    """What a training run is told besides its recipe and setting.

    Args:
        seed: Decides the first weights, the order of images and every draw.
        checkpoint_seconds: Least time between two checkpoints.
        command: The command line that began the run, for the record; empty from Python.
        precision: `float32`, or `mixed`: steps under autocast, matrix products and convolutions in bfloat16,
            weights and optimiser in float32.
        trained_for: What the weights are to say of themselves (`records.provenance`); None for a classifier's.
        is_half: Whether the weights are stored as float16, half the bytes; whoever loads them casts them back.
        images: How many of the training images that the recipe wants are used, the first ones of the dataset's
            order; None for all.
        restart: Whether a checkpoint that an interrupted run left is thrown away; else the run is resumed.
    """

    seed: int = 0
    checkpoint_seconds: float = 30.0
    command: str = ""
    precision: str = "float32"
    trained_for: TrainedFor | None = None
    is_half: bool = False
    images: int | None = None
    restart: bool = False

    def __post_init__(self) -> None:
        if self.images is not None and self.images < 1:
            raise BenchError(f"training needs at least one image; got {self.images}")
        if self.precision not in PRECISIONS:
            raise BenchError(
                f"a training's precision is {' or '.join(PRECISIONS)}; got {self.precision!r}"
            )


def description_of(
    recipe: Recipe, setting: Setting, options: TrainingOptions, length: Length
) -> dict[str, object]:
    """What a run is: recipe, arguments, setting, seed."""
    classifier = setting.classifier
    return {
        "seed": options.seed,
        "precision": options.precision,
        "recipe": f"{type(recipe).__module__}:{type(recipe).__qualname__}",
        "arguments": plain_arguments(recipe),
        "steps": length.steps,
        "batch_size": length.batch_size,
        "attacks": list(recipe.attacks_for(setting)),
        **({} if options.images is None else {"images": options.images}),
        "setting": {
            "dataset": setting.dataset,
            "shape": list(setting.shape),
            "classes": setting.classes,
            "threat": str(setting.threat),
            "device": setting.device.type,
            "dtype": str(setting.dtype).removeprefix("torch."),
            "classifier": classifier.name if classifier else None,
            "classifier_sha256": classifier.sha256 if classifier else None,
            "companions": {name: each.sha256 for name, each in setting.companions.items()},
        },
    }


def identity_of_run(
    description: dict[str, object], recipe: type[Recipe], labels: Tensor
) -> dict[str, object]:
    """Everything that decides the weights, so that a checkpoint of another run is never taken up."""
    source = closure_of([recipe.__module__, "benchmark.training.loop"], own=[recipe.__module__])
    return {
        **description,
        "labels_sha256": hashlib.sha256(labels.numpy().tobytes()).hexdigest(),
        "source_sha256": source.sha256(),
        "torch": torch.__version__,
    }


def metadata_of(options: TrainingOptions) -> dict[str, str] | None:
    """What stands in the weights file besides the weights."""
    if options.trained_for is None:
        return None
    return {KEY: options.trained_for.model_dump_json()}


def record_of(
    description: dict[str, object],
    options: TrainingOptions,
    device: torch.device,
    progress: Progress,
    out: Path,
) -> dict[str, object]:
    """What stands beside the weights: how they came to be, and what they are."""
    said = options.trained_for
    return {
        "schema": RECORD_SCHEMA,
        "command": options.command,
        **description,
        **({} if said is None else {KEY: said.model_dump(mode="json")}),
        "steps_done": progress.step,
        "losses": {
            name: [[int(step), float(f"{loss:.6g}")] for step, loss in points]
            for name, points in progress.points.items()
        },
        "seconds": round(progress.seconds, 3),
        "peak_memory_bytes": _peak_memory(device),
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "hardware": hardware(device).removesuffix(f", {os.cpu_count()} cores"),
        "threads": torch.get_num_threads(),
        "weights": out.name,
        "is_half": options.is_half,
        "weights_bytes": out.stat().st_size,
        "weights_sha256": file_sha256(out),
    }


def as_text(record: dict[str, object]) -> str:
    """A record as indented JSON, with each innermost list of numbers on a line of its own."""
    text = json.dumps(record, indent=2, allow_nan=False)
    return re.sub(
        r"\[[-+.\de,\s]+\]",
        lambda found: "".join(found[0].split()).replace(",", ", "),
        text + "\n",
    )


def plain_arguments(recipe: Recipe) -> dict[str, Any]:
    """A recipe's arguments as JSON holds them."""
    return {name: _plain(value) for name, value in arguments_of(recipe).items()}


def _plain(value: object) -> object:
    """A constructor's argument as JSON holds it."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Recipe):
        return {name: _plain(inner) for name, inner in arguments_of(value).items()}
    return str(value)


def _peak_memory(device: torch.device) -> int:
    if device.type == "cuda":
        return peak_memory(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # kilobytes on Linux
