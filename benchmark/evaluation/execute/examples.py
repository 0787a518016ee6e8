"""Shown images: the examples of a finished run, from the images that its shards keep; nothing is attacked."""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from PIL import Image
from torch import Tensor

from benchmark.compute.sandbox import fresh_global_state, sandboxed
from benchmark.engine.randomness import Draws
from benchmark.engine.victims.purified import Purified
from benchmark.engine.victims.victim import GradientMode
from benchmark.errors import BenchError
from benchmark.evaluation.execute.store import Store
from benchmark.evaluation.prepare.bench import Bench
from benchmark.records.entry import Entry
from benchmark.records.example_sheets import LARGEST, MODES, packed
from benchmark.records.examples import BARE, MOST, WHOLE, Example, Examples
from benchmark.records.job import Job
from benchmark.records.protocol import Column
from benchmark.records.result import Result, Status
from benchmark.records.run import PlannedAttack

if TYPE_CHECKING:
    from benchmark.records.entry import Entry
    from benchmark.records.entry_parts import PerImage

log = logging.getLogger(__name__)

ROOM = 400_000
"""Bytes of pixels that a sheet of more than one row holds at the most."""
TRIED = 8
"""Images of each kind that are looked at, at the most."""
LARGEST_SCALE = 16


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A finished run.

    Args:
        bench: What it consisted of.
        rows: Its plan.
        results: For each job's key its shards.
        store: Where their images are.
    """

    bench: Bench
    rows: Sequence[PlannedAttack]
    results: Mapping[str, Sequence[Result]]
    store: Store

    def images(self, job: Job, at: int) -> tuple[int, Tensor]:
        """First position and images `(b, r, c, h, w)` of the finished shard that holds a position."""
        for shard in self.results[job.key]:
            if shard.status is Status.OK and shard.start <= at < shard.stop:
                return shard.start, self.store.images(job, shard.start, shard.stop)
        raise ValueError(f"no finished shard of {job.row!r} holds image {at}")


def with_examples(entry: Entry, finished: Finished) -> tuple[Entry, bytes | None]:
    """An entry with its examples, and their sheet; as it is, and None, where they cannot be made.

    Why they cannot is logged: pictures decide nothing, so that a run does not fail for want of them.
    """
    if entry.clean is None or _most(entry) == 0:
        return entry, None
    try:
        with sandboxed(f"defense {entry.defense.label!r}: its example images"):
            made = _Gallery(entry, finished).examples()
    except BenchError as error:
        log.warning("no example images: %s", error)
        return entry, None
    if made is None:
        return entry, None
    examples, sheet = made
    return entry.model_copy(update={"examples": examples}), sheet


def _most(entry: Entry) -> int:
    """How many images a sheet may hold; none where they are not such as a picture shows."""
    c, h, w = entry.threat.input_shape
    row = len(WHOLE) * (c + 1) * h * w
    if c not in MODES or row > LARGEST or max(h, w) > 1024:
        return 0
    return max(1, min(MOST, ROOM // row))


@dataclass(frozen=True, slots=True)
class _Picked:
    """One image, clean, adversarial and, where there is such a thing, purified: `(c, h, w)`."""

    example: Example
    clean: Tensor
    adversarial: Tensor
    purified: Tensor | None


def fallen(images: PerImage) -> list[int]:
    """Positions of images that are right when clean, and wrong in the worst case, at the first draw."""
    return [
        i
        for i, (clean, worst) in enumerate(zip(images.clean, images.worst, strict=True))
        if (clean[0], worst[0]) == ("1", "0")
    ]


def held(images: PerImage, unattacked: Collection[str]) -> list[int]:
    """Positions of images that are right on both, whose worst case is an attack's image.

    Args:
        images: Of an entry.
        unattacked: Ids of the rows that leave images clean.
    """
    rows = zip(images.clean, images.worst, images.chosen, strict=True)
    return [
        i
        for i, (clean, worst, chosen) in enumerate(rows)
        if (clean[0], worst[0]) == ("1", "1") and chosen not in unattacked
    ]


def eight_bits(x: Tensor) -> Tensor:
    """Images in [0, 1] as whole numbers from 0 to 255, rounded, on the CPU."""
    return (x.detach().double().clamp(0, 1) * 255).round().to("cpu", torch.uint8)


def about_grey(change: Tensor, scale: int) -> Tensor:
    """A change in [-1, 1], so many times as large, about a middle grey; cut where it leaves [0, 1]."""
    return (0.5 + scale * change.detach().double()).clamp(0, 1)


def sheet_of(tiles: Tensor, gap: int) -> bytes:
    """A PNG of pictures in rows and columns, with transparent pixels in between.

    Args:
        tiles: `(rows, columns, c, h, w)` uint8, of 1 or 3 channels.
        gap: Pixels in between.
    """
    rows, columns, c, h, w = tiles.shape
    sheet = torch.zeros(rows * (h + gap), columns * (w + gap), c + 1, dtype=torch.uint8)
    for i in range(rows):
        for j in range(columns):
            top, left = i * (h + gap), j * (w + gap)
            sheet[top : top + h, left : left + w, :c] = tiles[i, j].permute(1, 2, 0)
            sheet[top : top + h, left : left + w, c] = 255
    sheet = sheet[: rows * (h + gap) - gap, : columns * (w + gap) - gap]
    height, width = sheet.shape[:2]
    return packed(Image.frombytes(MODES[c], (width, height), sheet.contiguous().numpy().tobytes()))


@dataclass(frozen=True, slots=True)
class _Gallery:
    entry: Entry
    finished: Finished

    def examples(self) -> tuple[Examples, bytes] | None:
        """The examples with their sheet; None where no image can be shown."""
        picked = self._picked()
        if not picked:
            return None
        most = max(float((p.adversarial - p.clean).abs().max()) for p in picked)
        scale = max(1, min(LARGEST_SCALE, math.floor(0.5 / max(most, 1e-9) + 0.01)))
        tiles = torch.stack([torch.stack(_tiles(each, scale)) for each in picked])
        h, w = tiles.shape[-2:]
        gap = max(1, min(h, w) // 16)
        sheet = sheet_of(tiles, gap)
        if len(sheet) > LARGEST:
            return None
        examples = Examples(
            sha256=hashlib.sha256(sheet).hexdigest(),
            tile=(h, w),
            gap=gap,
            scale=scale,
            columns=BARE if picked[0].purified is None else WHOLE,
            rows=tuple(each.example for each in picked),
        )
        return examples, sheet

    def _picked(self) -> list[_Picked]:
        """The first images that fell, and the first that held; more of the one where the other lacks."""
        unattacked = {row.id for row in self.finished.rows if row.column is Column.CLEAN}
        most, images = _most(self.entry), self.entry.per_image
        stood = held(images, unattacked)
        fell = self._take(fallen(images), most - 1 if stood and most > 1 else most)
        return [*fell, *self._take(stood, most - len(fell))]

    def _take(self, positions: Sequence[int], n: int) -> list[_Picked]:
        """The first n whose classes come out again as the verdict has them; none of more than a few tried."""
        found: list[_Picked] = []
        for at in positions[:TRIED]:
            picked = self._pick(at) if len(found) < n else None
            found += [picked] if picked else []
        return found

    def _pick(self, at: int) -> _Picked | None:
        """The image at a position of the order; None where a class is not the verdict's, by rounding."""
        bench, images = self.finished.bench, self.entry.per_image
        row = next(row for row in self.finished.rows if row.id == images.chosen[at])
        clean, y, indices = bench.images(at, at + 1)
        start, chosen = self.finished.images(row.job, at)  # under single draws the first
        x = torch.cat([clean, chosen[at - start, :1].to(clean)])  # (2, c, h, w)
        asked = row.job.criterion.draws if bench.victim.stochastic else 1
        draws = Draws.of(row.job.task.seed, indices, bench.dataset.name, bench.split)
        draws = (
            draws.at("score").repeat(asked).take(torch.zeros(2, dtype=torch.int64, device=x.device))
        )
        with fresh_global_state(row.job.key, at), torch.no_grad():
            purified, logits = _seen(bench, x, draws, is_bare=_is_bare(self.entry))
        classes = logits.argmax(1).tolist()
        said = [classes[0] == int(y), classes[1] == int(y)]
        if said != [images.clean[at][0] == "1", images.worst[at][0] == "1"]:
            return None
        example = Example(
            index=images.indices[at],
            label=int(y),
            attack=row.id,
            predicted_clean=classes[0],
            predicted_adversarial=classes[1],
        )
        return _Picked(example, x[0], x[1], None if purified is None else purified[1])


def _is_bare(entry: Entry) -> bool:
    """Whether nothing purifies: the undefended classifier."""
    return entry.defense.label == "none"


def _seen(bench: Bench, x: Tensor, draws: Draws, *, is_bare: bool) -> tuple[Tensor | None, Tensor]:
    """Purified images, where the victim has one for each image, and its logits `(b, k)`."""
    victim = bench.victim
    if isinstance(victim, Purified) and not is_bare:
        purified = victim.purify(x, draws=draws, mode=GradientMode.EXACT)
        return purified, victim.classifier(purified)
    return None, victim.logits(x, draws=draws, mode=GradientMode.EXACT)


def _tiles(picked: _Picked, scale: int) -> list[Tensor]:
    """The pictures of a row, `(c, h, w)` uint8 each."""
    change = about_grey(picked.adversarial - picked.clean, scale)
    found = [picked.clean, picked.adversarial, change]
    if picked.purified is not None:
        found += [picked.purified, about_grey(picked.purified - picked.clean, scale)]
    return [eight_bits(each) for each in found]
