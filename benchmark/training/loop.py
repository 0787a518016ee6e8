"""The training loop: a recipe's steps on a dataset, seeded, resumable, with a record beside the weights."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from benchmark.compute.determinism import begin_measuring, fix_numerics
from benchmark.compute.memory import whole_batch
from benchmark.compute.sandbox import seed_torch, settings_kept
from benchmark.engine.dataset import Dataset
from benchmark.engine.randomness import Draws
from benchmark.engine.victims.setting import Setting
from benchmark.errors import BenchError
from benchmark.files.atomic import write_whole
from benchmark.files.weights import halved, save_safetensors
from benchmark.recipe import Length, Recipe
from benchmark.records.job import MIXED
from benchmark.training.adversarial_sets import craft
from benchmark.training.attacks import training_attacks
from benchmark.training.checkpoint import (
    Progress,
    checkpoint_path,
    read_checkpoint,
    resume,
    save_checkpoint,
)
from benchmark.training.record import (
    TrainingOptions,
    as_text,
    description_of,
    identity_of_run,
    metadata_of,
    record_of,
)

Report = Callable[[int, int, dict[str, float] | None], None]
"""`(steps done, steps in all, losses of the last step)`, called after every step; before them, while static
sets are made, `(files done, files in all, None)`."""


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
        progress: Called after every step, and every file of a static set.

    Returns:
        `out`.

    Raises:
        BenchError: The recipe asks for no steps or for a share of images that there is not, a loss is not
            finite, `out` cannot be written, or the checkpoint beside it is damaged or another run's.
    """
    options = options or TrainingOptions()
    labels = dataset.labels("train")
    wanted = _wanted(recipe, dataset, options.images)
    used, held = _split(recipe, wanted, options.seed)
    length = _length(recipe, setting, len(used))
    described = description_of(recipe, setting, options, length)
    identity = json.dumps(identity_of_run(described, type(recipe), labels), sort_keys=True)
    so_far = Progress(length.steps)
    if options.restart:
        checkpoint_path(out).unlink(missing_ok=True)
    checkpoint = read_checkpoint(checkpoint_path(out), identity)  # refused now, not hours later
    with _reproducible(setting.device):
        crafted = craft(
            recipe, setting, dataset, chosen=wanted, seed=options.seed, progress=progress
        )
        if crafted is not None:
            recipe.receive(crafted)
        torch.manual_seed(_derived_seed(options.seed, "build", 0))
        recipe.build(setting, training_attacks(recipe.attacks_for(setting), setting))
        if checkpoint is not None:
            resume(checkpoint, recipe, so_far)
            del checkpoint
        save_checkpoint(
            checkpoint_path(out), recipe, so_far, identity
        )  # fails now, not hours later
        loop = _Loop(labels, used, held, length, out, identity, options, progress)
        _run(recipe, setting, dataset, so_far, loop)
        product = recipe.product()
    stored = halved(product) if options.is_half else product
    save_safetensors(stored, out, metadata_of(options))
    record = record_of(described, options, setting.device, so_far, out)
    if crafted is not None:
        record["static_sets"] = crafted.keys
    write_whole(out.with_suffix(".json"), as_text(record).encode())
    checkpoint_path(out).unlink(missing_ok=True)  # the same command at the same time may have
    return out


@dataclass(frozen=True, slots=True)
class _Loop:
    """What stays the same over all steps of one run."""

    labels: Tensor
    used: Tensor
    held: Tensor
    length: Length
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
    steps, size = loop.length.steps, loop.length.batch_size
    for step in range(progress.step, steps):
        if recipe.is_done():
            break
        began = time.monotonic()
        batch = loop.used[batch_indices(len(loop.used), size, seed=seed, step=step)]
        x = dataset.images("train", batch).to(setting.device, setting.dtype)
        y = loop.labels[batch].to(setting.device)
        draws = Draws.of(seed, batch.to(setting.device), "train", step)
        seed_torch(_derived_seed(seed, "step", step))  # for dropout and the like
        with whole_batch(size), _arithmetic(setting.device, loop.options.precision):
            found = recipe.step(x, y, step=step, draws=draws)
        losses = {name: float(loss) for name, loss in found.items()}
        if len(loop.held) and (step + 1) % _epoch_steps(len(loop.used), size) == 0:
            losses["validation"] = _validated(recipe, setting, dataset, loop)
            recipe.end_epoch(losses["validation"])
        _refuse_divergence(losses, step)
        progress.add(step, losses)
        progress.step = step + 1
        now = time.monotonic()
        progress.seconds += now - began
        if now - saved >= loop.options.checkpoint_seconds and progress.step < steps:
            save_checkpoint(checkpoint_path(loop.out), recipe, progress, loop.identity)
            saved = time.monotonic()
        if loop.report is not None:
            loop.report(progress.step, steps, losses)


def _validated(recipe: Recipe, setting: Setting, dataset: Dataset, loop: _Loop) -> float:
    """The mean loss over all held-out images."""
    seed, size = loop.options.seed, loop.length.batch_size
    seed_torch(_derived_seed(seed, "validation", 0))
    total = 0.0
    for batch in torch.split(loop.held, size):
        x = dataset.images("train", batch).to(setting.device, setting.dtype)
        y = loop.labels[batch].to(setting.device)
        draws = Draws.of(seed, batch.to(setting.device), "validation")
        with whole_batch(size), _arithmetic(setting.device, loop.options.precision):
            total += len(batch) * recipe.validate(x, y, draws=draws)
    return total / len(loop.held)


def _epoch_steps(n: int, batch_size: int) -> int:
    return max(1, n // batch_size)


def batch_indices(n: int, batch_size: int, *, seed: int, step: int) -> Tensor:
    """Indices `(b,)` of a step's images: a pure function of seed and step.

    Each epoch has an order of its own; what does not fill a last batch sits out that epoch.
    """
    epoch, place = divmod(step, _epoch_steps(n, batch_size))
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
    devices = [device] if device.type == "cuda" else []
    with settings_kept(), torch.random.fork_rng(devices=devices):
        fix_numerics()
        if not devices:
            torch.set_deterministic_debug_mode("error")
        begin_measuring(device)
        yield


def _arithmetic(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """Under which a step computes."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == MIXED)


def _length(recipe: Recipe, setting: Setting, images: int) -> Length:
    """How long a recipe wants to train."""
    length = recipe.length(setting, images)
    if length.steps < 1 or length.batch_size < 1:
        raise BenchError(
            f"training needs at least one step and one image a batch; got {length.steps} steps and "
            f"batches of {length.batch_size}"
        )
    return length


def _wanted(recipe: Recipe, dataset: Dataset, images: int | None) -> Tensor:
    """Indices of the training images that a recipe wants; of no more than `images`, the dataset's first."""
    used = recipe.select(dataset.labels("train"))
    if not len(used):
        raise BenchError("the recipe leaves no training image; ask it for more classes or images")
    if images is None:
        return used
    order = dataset.order("train")
    return order[torch.isin(order, used)][:images].sort().values


def _split(recipe: Recipe, used: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """The images that steps see, and those that are held out."""
    share = recipe.validation_share
    if not 0 <= share < 1:
        raise BenchError(f"a recipe's validation_share is at least 0 and below 1; got {share!r}")
    zero = torch.zeros(1, dtype=torch.int64)
    order = Draws.of(seed, zero, "held-out").permutations(len(used))[0]
    count = int(share * len(used))
    return used[order[count:].sort().values], used[order[:count].sort().values]


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
