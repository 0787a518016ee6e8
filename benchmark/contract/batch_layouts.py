"""Layouts: whether an image's answer hangs on what else is in its batch, or on who asks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from benchmark.compute.sandbox import sandboxed
from benchmark.contract.ask import MOVED, ProbedVictim
from benchmark.contract.probe import Subject
from benchmark.engine.victims.acceptance import ROUNDED, wide_rows
from benchmark.engine.victims.defense import Derivative
from benchmark.engine.victims.victim import GradientMode
from benchmark.errors import BenchError, ContractBroken

RUN = 4
"""Draws of each image in a short run of EOT rows."""


def spread(subject: Subject) -> tuple[Tensor, str]:
    """How far each image's outputs lie apart over ways of asking, `(b,)`, and the way that lies farthest.

    It is asked alone, in parts of a batch, in another order, repeated, shuffled, beside others, and as one asks
    who wants a gradient; what breaks down under gradients alone is a gap of each row that asks for them.
    """
    whole = subject.purify()
    ways = [*_in_parts(subject), *_beside(subject), *_followed(subject)]
    found = [(out - whole[rows]).abs().flatten(1).amax(1) for _, rows, out in ways]
    rows, apart = torch.cat([rows for _, rows, _ in ways]), torch.cat(found)
    farthest = int(torch.stack([each.max() for each in found]).argmax())
    return torch.stack([apart[rows == i].max() for i in range(len(whole))]), ways[farthest][0]


Way = tuple[str, Tensor, Tensor]
"""A way of asking: its name, the images' positions `(r,)`, and what came out for them, `(r, c, h, w)`."""


def _in_parts(subject: Subject) -> Iterator[Way]:
    every = torch.arange(len(subject.images), device=subject.images.device)
    half, few = len(every) // 2, every[:RUN]
    by_chance = torch.randperm(2 * len(every), generator=torch.Generator().manual_seed(0))
    parts = {
        "alone": [few[i : i + 1] for i in range(len(few))],
        "in half a batch": [every[:half], every[half:]],
        "in another order": [every.flip(0)],
        "in a run of its own": [few.repeat_interleave(RUN)],
        "repeated and shuffled": [every.repeat(2)[by_chance.to(every.device)]],
    }
    for name, batches in parts.items():
        for rows in batches:
            yield name, rows, subject.purify(subject.images[rows], subject.draws.take(rows))


def _beside(subject: Subject) -> Iterator[Way]:
    x, draws = subject.images, subject.draws
    images = torch.cat((draws.images, draws.images + len(x)))
    longer = replace(draws, images=images, rows=draws.rows.repeat(2))
    every = torch.arange(len(x), device=x.device)
    yield "beside others", every, subject.purify(torch.cat((x, 1 - x)), longer)[: len(x)]


def _followed(subject: Subject) -> Iterator[Way]:
    every = torch.arange(len(subject.images), device=subject.images.device)
    is_exact = subject.defense.gradient is not Derivative.NONE
    for mode in (GradientMode.EXACT, GradientMode.BPDA)[not is_exact :]:
        try:
            with sandboxed(f"asked for gradients ({mode}), it"):
                out = subject.purify(mode=mode)
        except ContractBroken:
            raise
        except BenchError:
            continue
        yield f"where its gradient is wanted ({mode})", every, out


def crowd_of(here: ProbedVictim, fine: ProbedVictim) -> tuple[float, str]:
    """The share of images whose answers hang on the batch, and how; the share is 0 where none may be named.

    Small layouts are asked as finely as can be; wide ones in the run's own precision, since 512 rows in float64
    would cost more than all else.
    """
    if share := _beside_others(here):
        return share, "an image's logits change with what else is in the batch"
    b, most = len(here.x), wide_rows(here.x[:1])
    wide = replace(here, tolerance=ROUNDED, allowed=MOVED)
    small = {"alone": [[0], [-1]], "in another order": [list(range(b))[::-1]]}
    for asked, k, layouts in ((fine, RUN, small), (wide, -(-max(most, 2 * b) // b), {})):
        run = _Runs(asked, k)
        for name, parts in run.layouts(layouts):
            moved = run.moved(parts)
            share = float(moved.double().mean())
            if share > asked.allowed:
                return share, f"an image's logits are others {name}"
    return 0.0, ""


def _beside_others(here: ProbedVictim) -> float:
    """The share of images that answer otherwise at the same place of a batch of the same size.

    Rounding has no reason to differ there, however much a purifier makes of it.
    """
    own, n = here.exhibit.draws, 0
    for i in (0, len(here.x) - 1):
        others, images = (1 - here.x).flip(0), own.images + 1_000_003
        others[i], images[i] = here.x[i], own.images[i]
        answer = here.ask(others, replace(own, images=images))
        n += bool(here.moved(answer, here.first)[i])
    return n / 2


class _Runs:
    """Rows as attacks and verdicts lay them out: the k draws of one image, then those of the next.

    Each image is looked at by its first and its last draw, which are first asked for among those of others.
    """

    def __init__(self, asked: ProbedVictim, k: int) -> None:
        self.asked = asked
        self.k = k
        self.every = torch.arange(len(asked.x) * k, device=asked.x.device)
        self.first = self.every[::k]
        self.ends = torch.cat((self.first, self.first + k - 1))
        self.known = asked.first.new_zeros(len(self.every), asked.first.shape[1])
        for end in self.ends.chunk(2):
            self.known[end] = self._ask(end)

    def _ask(self, part: Tensor) -> Tensor:
        draws = self.asked.exhibit.draws.repeat(self.k)
        return self.asked.ask(self.asked.x[part // self.k], draws.take(part))

    def layouts(self, small: Mapping[str, list[list[int]]]) -> Iterator[tuple[str, list[Tensor]]]:
        """Layouts by name: positions of the rows of each batch."""
        for name, parts in small.items():
            yield name, [self.first[part] for part in parts]
        yield f"in a batch of {len(self.every)}", [self.every]
        batch = self.asked.exhibit.batch
        if batch < len(self.every):
            yield "in the batches of the run", [self.every[:batch]]

    def moved(self, parts: Sequence[Tensor]) -> Tensor:
        """Which images answer otherwise in a layout, `(b,)` bool."""
        moved = torch.zeros_like(self.first, dtype=torch.bool)
        for part in parts:
            is_known = torch.isin(part, self.ends)
            rows, answers = part[is_known], self._ask(part)[is_known]
            moved[rows[self.asked.moved(answers, self.known[rows])] // self.k] = True
        return moved
