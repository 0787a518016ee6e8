"""Training checkpoints: all that a run needs to go on, in one file written whole or not at all."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from benchmark.damage import DAMAGED
from benchmark.errors import BenchError
from benchmark.files import write_whole
from benchmark.recipe import Recipe

POINTS = 200
"""How many points a loss curve keeps at the most."""


@dataclass(slots=True)
class Curves:
    """Named losses over a run, each point the mean over one of at most `POINTS` stretches of steps.

    Args:
        steps: Steps of the whole run.
        points: `[last step of the stretch, mean loss]` by name.
        sums: Sum and count of the stretch that is under way, by name.
    """

    steps: int
    points: dict[str, list[list[float]]] = field(default_factory=dict)
    sums: dict[str, list[float]] = field(default_factory=dict)

    def add(self, step: int, losses: dict[str, float]) -> None:
        """Adds one step's losses."""
        for name, loss in losses.items():
            total = self.sums.setdefault(name, [0.0, 0.0])
            total[0] += loss
            total[1] += 1
        stretch = -(-self.steps // POINTS)
        if (step + 1) % stretch == 0 or step + 1 == self.steps:
            for name, (loss, count) in self.sums.items():
                self.points.setdefault(name, []).append([step, loss / count])
            self.sums = {}


@dataclass(slots=True)
class Progress:
    """How far a run has come.

    Args:
        curves: The losses so far.
        step: Steps done.
        seconds: Time spent in steps, over all sittings.
    """

    curves: Curves
    step: int = 0
    seconds: float = 0.0


def checkpoint_path(out: Path) -> Path:
    """Where the checkpoint of a run that will write `out` lies."""
    return out.with_name(f"{out.name}.part-checkpoint")


def save_checkpoint(path: Path, recipe: Recipe, progress: Progress, identity: str) -> None:
    """Writes modules, optimisers and progress, under the identity of the run."""
    state = {
        "identity": identity,
        "step": progress.step,
        "seconds": progress.seconds,
        "points": progress.curves.points,
        "sums": progress.curves.sums,
        "modules": {name: module.state_dict() for name, module in recipe.modules().items()},
        "optimizers": {name: opt.state_dict() for name, opt in recipe.optimizers().items()},
    }
    content = io.BytesIO()
    torch.save(state, content)
    write_whole(path, content.getvalue())


def load_checkpoint(path: Path, recipe: Recipe, progress: Progress, identity: str) -> None:
    """Brings a built recipe and its progress to where a checkpoint stands; does nothing where there is none.

    Raises:
        BenchError: The checkpoint is damaged, or belongs to another run.
    """
    if not path.exists():
        return
    mend = f"delete {str(path)!r} to train from the beginning"
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Detected pickle protocol")
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        found = state["identity"]
    except DAMAGED as error:
        raise BenchError(f"the training checkpoint is damaged, or none; {mend}") from error
    if found != identity:
        raise BenchError(
            f"the training checkpoint belongs to another run (other arguments, seed, data or "
            f"source); repeat the command that began it, or {mend}"
        )
    for name, module in recipe.modules().items():
        module.load_state_dict(state["modules"][name])
    for name, optimizer in recipe.optimizers().items():
        optimizer.load_state_dict(state["optimizers"][name])
    progress.step, progress.seconds = int(state["step"]), float(state["seconds"])
    progress.curves.points, progress.curves.sums = state["points"], state["sums"]
