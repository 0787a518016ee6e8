"""Questions: a victim asked once more about images of an entry, at the entry's own draws."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from benchmark.compute.memory import BatchLimit
from benchmark.compute.sandbox import sandboxed
from benchmark.engine.criterion import Criterion, Role
from benchmark.engine.judging.verdict import Answers, answers
from benchmark.engine.randomness import Draws
from benchmark.evaluation.execute.kept_images import CLEAN, Collected
from benchmark.evaluation.prepare.prepare import Prepared
from benchmark.evaluation.prepare.reproduce import originals
from benchmark.records.entry import Entry

OTHER_ROWS = 61
"""Rows in one pass of the other layout in which a victim is asked where something differs, back to front."""


class DrawAnswers(NamedTuple):
    """Answers `(n, draws)` about one image of each original at draws that choose and at `score` draws."""

    choosing: Answers
    score: Answers

    def at(self, i: int) -> DrawAnswers:
        """Those about one original, `(draws,)`."""
        return DrawAnswers(*(_each(found, lambda column: column[i]) for found in self))


class Questions:
    """A victim with the images that it is asked about, each question asked once.

    So many originals as a shard has are asked about at once, at the entry's draws.
    """

    def __init__(
        self, ready: Prepared, entry: Entry, collected: Collected | None, shard_size: int
    ) -> None:
        self.ready = ready
        self.entry = entry
        self.collected = collected
        self.shard_size = shard_size
        self.criterion = Criterion(**entry.criterion.model_dump())
        self._known: dict[tuple[tuple[int, ...], bool], DrawAnswers] = {}

    def asked(self, numbers: tuple[int, ...], *, is_other: bool = False) -> DrawAnswers:
        """Answers about images by their numbers, `CLEAN` or of kept images, one an original.

        In another layout, where `is_other`, what rounding does is seen.
        """
        if (numbers, is_other) not in self._known:
            n, size = len(numbers), OTHER_ROWS if is_other else self.shard_size
            parts = [torch.arange(i, min(i + size, n)) for i in range(0, n, size)]
            found = [self._part(numbers, part, is_other=is_other) for part in parts]
            self._known[numbers, is_other] = DrawAnswers(*map(_joined, zip(*found, strict=True)))
        return self._known[numbers, is_other]

    def pair(self, numbers: tuple[int, ...], part: Tensor) -> tuple[Tensor, Tensor]:
        """Clean images `(b, c, h, w)` at positions `(b,)`, and those of numbers for them."""
        x, _, _ = originals(self.ready, part)
        shown = [
            x[i]
            if self.collected is None or numbers[at] == CLEAN
            else self.collected.images[numbers[at]]
            for i, at in enumerate(part.tolist())
        ]
        return x, torch.stack(shown).to(x)

    def _part(
        self, numbers: tuple[int, ...], part: Tensor, *, is_other: bool
    ) -> tuple[Answers, Answers]:
        part = part.flip(0) if is_other else part
        ready, device = self.ready, self.ready.device
        _, y, indices = originals(ready, part)
        images = self.pair(numbers, part)[1].to(device)
        root = Draws.of(ready.request.seed, indices.to(device), ready.dataset.name, "test")
        roles = [self.criterion.choosing, *([Role.SCORE] if ready.is_stochastic else [])]
        with sandboxed(f"defense {ready.label!r}"):
            found = [
                answers(
                    ready.victim,
                    images,
                    y.to(device),
                    draws=root,
                    role=role,
                    criterion=self.criterion,
                    room=BatchLimit(OTHER_ROWS) if is_other else None,
                )
                for role in roles
            ]
        if is_other:
            found = [_each(each, lambda column: column.flip(0)) for each in found]
        return found[0], found[-1]


def _joined(parts: tuple[Answers, ...]) -> Answers:
    """Answers about the same originals in parts, put together, on the CPU."""
    columns = ([p.predictions, p.margins, p.rivals] for p in parts)
    return Answers(*(torch.cat(each).cpu() for each in zip(*columns, strict=True)))


def _each(found: Answers, change: Callable[[Tensor], Tensor]) -> Answers:
    return Answers(change(found.predictions), change(found.margins), change(found.rivals))
