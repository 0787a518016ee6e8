"""What other libraries' attacks do to images that an entry calls robust, by the harness's own verdict."""

from __future__ import annotations

import hashlib
import io
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmark.engine.criterion import Criterion, Outcome, Rule, worst
from benchmark.engine.judging.verdict import judge
from benchmark.engine.randomness import Draws
from benchmark.errors import BenchError
from benchmark.evaluation.prepare.prepare import Prepared
from benchmark.evaluation.prepare.reproduce import originals
from benchmark.files.atomic import write_whole
from benchmark.records.entry import Entry
from tests.parity.subject import HALF, rate, robust_in

Attack = Callable[[Tensor, Tensor], Tensor]
"""`(x, y) -> x_adv`: images `(b, c, h, w)` in [0, 1] and true labels `(b,)`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What an attack may change and spend.

    Args:
        eps: Greatest linf change, in pixel units of [0, 1].
        shape: `(c, h, w)`.
        classes: Number of classes.
        steps: Of an attack with gradients.
        queries: Of one without.
    """

    eps: float
    shape: tuple[int, int, int]
    classes: int
    steps: int = 100
    queries: int = 2000


@dataclass(frozen=True, slots=True)
class Tried:
    """One attack.

    Args:
        library: Its name and version.
        name: The attack's.
        fallen: Positions in the entry of the images that fell to it.
        accuracy: Mean over all its images; NaN where it broke off.
        seconds: Of one core.
        error: What broke it; empty for nothing.
    """

    library: str
    name: str
    fallen: frozenset[int]
    accuracy: float
    seconds: float
    error: str = ""


@dataclass(slots=True)
class Parity:
    """Other libraries' attacks on the images that an entry calls robust.

    Args:
        entry: Its images and outcomes.
        ready: Its victim.
        most: How many images at most.
        seed: Of the draws by which images are judged; another than the entry's, so that no image that counts
            was chosen by them.
        folder: Where images made are kept, by all that decides them.
        made_by: What else decides them: the budget, the gradient mode and the versions.
        best: For each image the most harmful one so far, and what the draws say of it.
    """

    entry: Entry
    ready: Prepared
    most: int
    seed: int
    folder: Path | None = None
    made_by: str = ""
    best: dict[int, tuple[Outcome, Tensor]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.seed == self.entry.seed:
            raise BenchError(
                f"seed {self.seed} is the entry's own; judge on fresh draws, by another --seed"
            )

    @property
    def robust(self) -> list[int]:
        """Positions of the images that are attacked."""
        return robust_in(self.entry, self.most)

    def before(self, position: int) -> float:
        """The share of draws on which the entry's worst image is right."""
        return rate(self.entry.per_image.worst[position])

    def images(self) -> tuple[Tensor, Tensor, Tensor]:
        """The clean ones `(b, c, h, w)`, their labels `(b,)` and indices `(b,)`."""
        return originals(self.ready, torch.tensor(self.robust))

    def run(self, library: str, attacks: Mapping[str, Attack]) -> Iterator[Tried]:
        """Runs attacks one by one, each from the same seed; those that were run before are judged alone."""
        x, y, _ = self.images()
        for name, attack in attacks.items():
            place = self._place(library, name)
            if place is None or not place.is_file():
                made = self._made(attack, x, y)
                if place:
                    write_whole(place, packed(made))
            else:
                with np.load(place) as kept:
                    made = dict(kept)
            yield self._tried(library, name, made, x, y)

    def _made(self, attack: Attack, x: Tensor, y: Tensor) -> dict[str, Any]:
        """The images of an attack as they came, or the error that it broke off with."""
        torch.manual_seed(self.seed)
        np.random.seed(self.seed)  # the libraries draw from it
        began, error, x_adv = time.process_time(), "", x
        try:
            x_adv = attack(x.clone(), y.clone()).detach().float()
        except (AssertionError, RuntimeError, ValueError) as broken:
            error = f"{type(broken).__name__}: {broken}"
        seconds = time.process_time() - began
        return {"x_adv": x_adv.numpy(), "seconds": seconds, "error": error}

    def _tried(
        self, library: str, name: str, made: Mapping[str, Any], x: Tensor, y: Tensor
    ) -> Tried:
        """What an attack's images do once they are inside the budget."""
        seconds, error = float(made["seconds"]), str(made["error"])
        if error:
            return Tried(library, name, frozenset(), float("nan"), seconds, error)
        x_adv = torch.as_tensor(made["x_adv"])
        x_adv = torch.where(x_adv.isfinite(), x_adv, x)
        outcomes = self._judge(self.ready.task.threat.project(x, x_adv), y)
        fallen = frozenset(i for i, outcome in outcomes.items() if self._is_fall(i, outcome))
        mean = float(np.mean([outcome.accuracy for outcome in outcomes.values()]))
        return Tried(library, name, fallen, mean, seconds)

    def _judge(self, x_adv: Tensor, y: Tensor) -> dict[int, Outcome]:
        """The verdict on images, one an original; takes note of the most harmful one of each."""
        task, positions = self.ready.task, self.robust
        indices = torch.tensor([self.entry.per_image.indices[i] for i in positions])
        found, _ = judge(
            self.ready.victim,
            x_adv.unsqueeze(1),
            y,
            draws=Draws.of(self.seed, indices, task.dataset, task.split, "parity"),
            criterion=Criterion(**self.entry.criterion.model_dump()),
        )
        outcomes = dict(zip(positions, found[Rule.SINGLE], strict=True))
        for (i, new), image in zip(outcomes.items(), x_adv, strict=True):
            known = self.best.get(i)
            if known is None or worst((known[0], new)):
                self.best[i] = (new, image)
        return outcomes

    def _is_fall(self, position: int, outcome: Outcome) -> bool:
        return is_fall(self.before(position), outcome.accuracy)

    def fallen(self) -> list[int]:
        """Positions of the images that fell: chosen among all attacks on `select`, scored on `score` draws."""
        return [i for i, (outcome, _) in self.best.items() if self._is_fall(i, outcome)]

    def _place(self, library: str, name: str) -> Path | None:
        if self.folder is None:
            return None
        entry = self.entry
        stages = [(s.plugin, s.arguments, s.weights_sha256) for s in entry.defense.stages]
        images = [entry.per_image.indices[i] for i in self.robust]
        decided_by = (stages, entry.classifier.sha256, entry.dataset.name, images)
        known = repr((*decided_by, entry.threat.text, self.seed, self.made_by))
        label = f"{entry.defense.label}--{library}-{name}"
        return self.folder / f"{label}-{hashlib.sha256(known.encode()).hexdigest()[:12]}.npz"


def is_fall(before: float, after: float) -> bool:
    """Whether an image's rate drops by half or more; of a fixed victim, from right to wrong."""
    return before - after >= HALF - 1e-9  # .7 - .2 is less than .5


def packed(arrays: Mapping[str, Any]) -> bytes:
    """Arrays as an `.npz` file."""
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def write_found(parity: Parity, path: Path) -> None:
    """Writes the most harmful image of each original, as `bench challenge` reads them."""
    images, positions = parity.entry.per_image, list(parity.best)
    arrays = {
        "x_adv": torch.stack([parity.best[i][1] for i in positions]).numpy(),
        "indices": np.array([images.indices[i] for i in positions]),
        "labels": np.array([images.labels[i] for i in positions]),
    }
    write_whole(path, packed(arrays))
