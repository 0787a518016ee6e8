"""Training checkpoints: all that a run needs to go on, in one file written whole or not at all."""

from __future__ import annotations

import io
import json
import warnings
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from benchmark.errors import BenchError
from benchmark.files.atomic import write_whole
from benchmark.files.parsing import DAMAGED
from benchmark.recipe import Recipe

POINTS = 200
"""How many points a loss curve keeps at the most."""
MOST_SAID = 4
"""How many differences from another run a message names."""
LONGEST_SAID = 40
"""Characters of a value in such a message."""
_ANEW = "begin anew with bench train ... --restart"


@dataclass(slots=True)
class Progress:
    """How far a run has come; of its losses, each point is the mean over one of `POINTS` stretches of steps.

    Args:
        steps: Steps of the whole run.
        step: Steps done.
        seconds: Time spent in steps, over all sittings.
        points: `[last step of the stretch, mean loss]` by the loss's name.
        sums: Sum and count of the stretch that is under way, by name.
    """

    steps: int
    step: int = 0
    seconds: float = 0.0
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


def checkpoint_path(out: Path) -> Path:
    """Where the checkpoint of a run that will write `out` lies."""
    return out.with_name(f"{out.name}.part-checkpoint")


def save_checkpoint(path: Path, recipe: Recipe, progress: Progress, identity: str) -> None:
    """Writes modules, optimisers and progress, under the identity of the run."""
    state = {
        "identity": identity,
        **asdict(progress),
        "modules": {name: module.state_dict() for name, module in recipe.modules().items()},
        "optimizers": {name: opt.state_dict() for name, opt in recipe.optimizers().items()},
    }
    content = io.BytesIO()
    torch.save(state, content)
    write_whole(path, content.getvalue())


def read_checkpoint(path: Path, identity: str) -> dict[str, Any] | None:
    """What a checkpoint holds; None where there is none, or another run's that had not made a step.

    Raises:
        BenchError: It is damaged, or belongs to another run; the line says in what that one differs.
    """
    if not path.exists():
        return None
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Detected pickle protocol")
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        found = state["identity"]
    except DAMAGED as error:
        raise BenchError(
            f"the training checkpoint {str(path)!r} is damaged, or none; {_ANEW}"
        ) from error
    if found != identity and state.get("step") == 0:
        return None  # nothing is lost
    if found != identity:
        raise BenchError(
            f"the training checkpoint {str(path)!r} belongs to another run ({_differences(found, identity)}); "
            f"repeat the command that began it to resume it, or {_ANEW}"
        )
    return state


def resume(state: dict[str, Any], recipe: Recipe, progress: Progress) -> None:
    """Brings a built recipe and its progress to where a checkpoint stands."""
    for name, module in recipe.modules().items():
        module.load_state_dict(state["modules"][name])
    for name, optimizer in recipe.optimizers().items():
        optimizer.load_state_dict(state["optimizers"][name])
    progress.step, progress.seconds = int(state["step"]), float(state["seconds"])
    progress.points, progress.sums = state["points"], state["sums"]


def _differences(found: object, identity: str) -> str:
    """In what the run of a checkpoint differs from this one, in words."""
    try:
        before, now = _flat(json.loads(str(found))), _flat(json.loads(identity))
    except (ValueError, RecursionError):
        return "of another version of purifybench"
    names = [name for name in {**now, **before} if before.get(name) != now.get(name)]
    said = dict.fromkeys(_difference(name, before.get(name), now.get(name)) for name in names)
    first, others = list(said)[:MOST_SAID], len(said) - MOST_SAID
    return ", ".join(first) + (f" and {others} more" if others > 0 else "")


def _flat(value: object, name: str = "") -> dict[str, object]:
    """The leaves of a description, by their names joined with dots."""
    if not isinstance(value, dict):
        return {name: value}
    found: dict[str, object] = {}
    for key, inner in value.items():
        found |= _flat(inner, f"{name}.{key}" if name else str(key))
    return found


def _difference(name: str, before: object, now: object) -> str:
    short = name.rpartition(".")[2]
    if short.endswith("_sha256"):
        return f"different {short.removesuffix('_sha256')}"
    return f"{short} was {_said(before)}, now {_said(now)}"


def _said(value: object) -> str:
    text = "not given" if value is None else str(value)
    return text if len(text) <= LONGEST_SAID else f"{text[:LONGEST_SAID]}..."
