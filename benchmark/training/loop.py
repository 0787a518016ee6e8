"""The training loop: a recipe's steps on a dataset, seeded, resumable, with a record beside the weights."""

from __future__ import annotations

import hashlib
import inspect
import json
import math
import os
import platform
import re
import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from benchmark.configuration import arguments_of
from benchmark.dataset import Dataset
from benchmark.errors import BenchError
from benchmark.files import write_whole
from benchmark.memory import whole_batch
from benchmark.numerics import begin_measuring
from benchmark.randomness import Draws
from benchmark.recipe import Recipe
from benchmark.setting import Setting
from benchmark.training.attacks import training_attacks
from benchmark.training.checkpoint import (
    Curves,
    Progress,
    checkpoint_path,
    load_checkpoint,
    save_checkpoint,
)
from benchmark.weights import save_safetensors, sha256_of

RECORD_SCHEMA = 1

Report = Callable[[int, int, dict[str, float]], None]
"""`(steps done, steps in all, losses of the last step)`, called after every step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingOptions:
    """What a training run is told besides its recipe and setting.

    Args:
        seed: Decides the first weights, the order of images and every draw.
        checkpoint_seconds: Least time between two checkpoints.
        command: The command line that began the run, for the record; empty from Python.
    """

    seed: int = 0
    checkpoint_seconds: float = 30.0
    command: str = ""


def train(
    recipe: Recipe,
    setting: Setting,
    dataset: Dataset,
    *,
    out: Path,
    options: TrainingOptions | None = None,
    progress: Report | None = None,
) -> Path:
    """Trains a recipe on a dataset's training split and writes its weights.

    Interrupted, even by SIGKILL, and called again with the same arguments, it goes on from the last checkpoint
    (beside `out`) to the very weights of an unbroken run, on the same hardware with the same number of threads.

    Args:
        recipe: What is trained; it is built here.
        setting: The task, the device, and the frozen classifier where there is one.
        dataset: Where images and labels come from.
        out: The safetensors file to write; the training record goes to the same name with `.json`.
        options: Seed and checkpoints.
        progress: Called after every step.

    Returns:
        `out`.

    Raises:
        BenchError: The recipe asks for no steps, a loss is not finite, `out` cannot be written, or the
            checkpoint beside it is damaged or belongs to another run.
    """
    options = options or TrainingOptions()
    if recipe.steps < 1 or recipe.batch_size < 1:
        raise BenchError(
            f"training needs at least one step and one image a batch; got {recipe.steps} steps and "
            f"batches of {recipe.batch_size}"
        )
    labels = dataset.labels("train")
    identity = json.dumps(_identity(recipe, setting, labels, options.seed), sort_keys=True)
    so_far = Progress(Curves(recipe.steps))
    with _reproducible(setting.device):
        torch.manual_seed(_derived_seed(options.seed, "build", 0))
        recipe.build(setting, training_attacks(recipe.attacks, setting))
        load_checkpoint(checkpoint_path(out), recipe, so_far, identity)
        save_checkpoint(
            checkpoint_path(out), recipe, so_far, identity
        )  # fails now, not hours later
        _run(recipe, setting, dataset, so_far, _Loop(labels, out, identity, options, progress))
        product = recipe.product()
    save_safetensors(product, out)
    record = _record(recipe, setting, options, so_far, out)
    text = _one_point_a_line(json.dumps(record, indent=2, allow_nan=False)) + "\n"
    write_whole(out.with_suffix(".json"), text.encode())
    checkpoint_path(out).unlink(missing_ok=True)  # the same command at the same time may have
    return out


@dataclass(frozen=True, slots=True)
class _Loop:
    """What stays the same over all steps of one run."""

    labels: Tensor
    out: Path
    identity: str
    options: TrainingOptions
    report: Report | None


def _run(
    recipe: Recipe, setting: Setting, dataset: Dataset, progress: Progress, loop: _Loop
) -> None:
    """All steps that are not done yet, with a checkpoint now and then."""
    seed = loop.options.seed
    saved = time.monotonic()
    for step in range(progress.step, recipe.steps):
        began = time.monotonic()
        batch = batch_indices(len(loop.labels), recipe.batch_size, seed=seed, step=step)
        x = dataset.images("train", batch).to(setting.device, setting.dtype)
        y = loop.labels[batch].to(setting.device)
        draws = Draws.of(seed, batch.to(setting.device), "train", step)
        torch.manual_seed(_derived_seed(seed, "step", step))  # for dropout and the like
        with whole_batch(recipe.batch_size):
            found = recipe.step(x, y, step=step, draws=draws)
        losses = {name: float(loss) for name, loss in found.items()}
        _refuse_divergence(losses, step)
        progress.curves.add(step, losses)
        progress.step = step + 1
        now = time.monotonic()
        progress.seconds += now - began
        if now - saved >= loop.options.checkpoint_seconds and progress.step < recipe.steps:
            save_checkpoint(checkpoint_path(loop.out), recipe, progress, loop.identity)
            saved = time.monotonic()
        if loop.report is not None:
            loop.report(progress.step, recipe.steps, losses)


def batch_indices(n: int, batch_size: int, *, seed: int, step: int) -> Tensor:
    """Indices `(b,)` of a step's images: a pure function of seed and step.

    Each epoch has an order of its own; what does not fill a last batch sits out that epoch.
    """
    epoch, place = divmod(step, max(1, n // batch_size))
    return _epoch_order(n, seed, epoch)[place * batch_size : (place + 1) * batch_size]


@lru_cache(maxsize=2)
def _epoch_order(n: int, seed: int, epoch: int) -> Tensor:
    zero = torch.zeros(1, dtype=torch.int64)
    return Draws.of(seed, zero, "order", epoch).permutations(n)[0]


@contextmanager
def _reproducible(device: torch.device) -> Iterator[None]:
    """Deterministic algorithms, full float32; the global generators and switches are as before afterwards.

    On a GPU some kernels have no deterministic twin: those warn, and what was interrupted may then end with
    other weights than an unbroken run, by rounding.
    """
    # without this, cuBLAS is not deterministic
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    devices = [device] if device.type == "cuda" else []
    before = torch.are_deterministic_algorithms_enabled()
    only_warned = torch.is_deterministic_algorithms_warn_only_enabled()
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    switches = (cudnn.benchmark, cudnn.allow_tf32, matmul.allow_tf32)
    cudnn.benchmark, cudnn.allow_tf32, matmul.allow_tf32 = False, False, False
    torch.use_deterministic_algorithms(True, warn_only=device.type == "cuda")
    begin_measuring(device)
    try:
        with torch.random.fork_rng(devices=devices):
            yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=only_warned)
        cudnn.benchmark, cudnn.allow_tf32, matmul.allow_tf32 = switches


def _derived_seed(seed: int, *place: str | int) -> int:
    text = "\x1f".join(map(str, (seed, *place)))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=7).digest(), "little")


def _refuse_divergence(losses: dict[str, float], step: int) -> None:
    for name, loss in losses.items():
        if not math.isfinite(loss):
            raise BenchError(
                f"training diverged: {name} is {loss} at step {step}; lower the learning rate or take "
                f"another seed"
            )


def _description(recipe: Recipe, setting: Setting, seed: int) -> dict[str, object]:
    classifier = setting.classifier
    return {
        "seed": seed,
        "recipe": f"{type(recipe).__module__}:{type(recipe).__qualname__}",
        "arguments": {name: _plain(value) for name, value in arguments_of(recipe).items()},
        "steps": recipe.steps,
        "batch_size": recipe.batch_size,
        "attacks": list(recipe.attacks),
        "setting": {
            "dataset": setting.dataset,
            "shape": list(setting.shape),
            "classes": setting.classes,
            "threat": str(setting.threat),
            "device": setting.device.type,
            "dtype": str(setting.dtype).removeprefix("torch."),
            "classifier": classifier.name if classifier else None,
            "classifier_sha256": classifier.sha256 if classifier else None,
        },
    }


def _identity(recipe: Recipe, setting: Setting, labels: Tensor, seed: int) -> dict[str, object]:
    """Everything that decides the weights, so that a checkpoint of another run is never taken up."""
    source = Path(inspect.getfile(type(recipe)))
    return {
        **_description(recipe, setting, seed),
        "labels_sha256": hashlib.sha256(labels.numpy().tobytes()).hexdigest(),
        "source_sha256": sha256_of(source) if source.is_file() else "",
        "torch": torch.__version__,
    }


def _record(
    recipe: Recipe, setting: Setting, options: TrainingOptions, progress: Progress, out: Path
) -> dict[str, object]:
    """What stands beside the weights: how they came to be, and what they are."""
    return {
        "schema": RECORD_SCHEMA,
        "command": options.command,
        **_description(recipe, setting, options.seed),
        "losses": {
            name: [[int(step), float(f"{loss:.6g}")] for step, loss in points]
            for name, points in progress.curves.points.items()
        },
        "seconds": round(progress.seconds, 3),
        "peak_memory_bytes": _peak_memory(setting.device),
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "hardware": _hardware(setting.device),
        "threads": torch.get_num_threads(),
        "weights": out.name,
        "weights_bytes": out.stat().st_size,
        "weights_sha256": sha256_of(out),
    }


def _one_point_a_line(text: str) -> str:
    """Indented JSON with each innermost list of numbers on a line of its own."""
    return re.sub(
        r"\[[-+.\de,\s]+\]", lambda found: "".join(found[0].split()).replace(",", ", "), text
    )


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
        return int(torch.cuda.max_memory_allocated(device))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # kilobytes on Linux


def _hardware(device: torch.device) -> str:
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()
