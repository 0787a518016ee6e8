"""Shown images: the examples of a finished run, from the images that its shards keep; nothing is attacked."""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from benchmark.compute.sandbox import fresh_global_state, sandboxed
from benchmark.engine.randomness import Draws
from benchmark.engine.victims.purified import Purified
from benchmark.engine.victims.victim import GradientMode
from benchmark.errors import BenchError
from benchmark.evaluation.execute.planned import Planned
from benchmark.records.entry import Entry
from benchmark.records.entry_parts import PerImage
from benchmark.records.example_sheets import LARGEST, MODES, packed
from benchmark.records.examples import BARE, MOST, WHOLE, Example, Examples
from benchmark.records.protocol import Column

log = logging.getLogger(__name__)

ROOM = 400_000
"""Bytes of pixels that a sheet of more than one row holds at the most."""
TRIED = 8
"""Images of each kind that are looked at, at the most."""
LARGEST_SCALE = 16


def with_examples(entry: Entry, planned: Planned) -> tuple[Entry, bytes | None]:
    """An entry with its examples, and their sheet; as it is, and None, where they cannot be made.

    Why they cannot is logged: pictures decide nothing, so that a run does not fail for want of them.
    """
    if entry.clean is None or _most(entry) == 0:
        return entry, None
    try:
        with sandboxed(f"defense {entry.defense.label!r}: its example images"):
            made = _pictured(_Gallery(entry, planned).picked())
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


_Picked = tuple[Example, Tensor]
"""An example with its images, `(2 or 3, c, h, w)`: clean, adversarial and, where there is one, purified."""


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
    channels = tiles.shape[2]
    opaque = torch.cat([tiles, torch.full_like(tiles[:, :, :1], 255)], dim=2)
    apart = functional.pad(opaque, (0, gap, 0, gap))  # (rows, columns, c + 1, h + gap, w + gap)
    sheet = apart.permute(0, 3, 1, 4, 2).flatten(2, 3).flatten(0, 1)
    height, width = sheet.shape[0] - gap, sheet.shape[1] - gap
    pixels = sheet[:height, :width].contiguous().numpy().tobytes()
    return packed(Image.frombytes(MODES[channels], (width, height), pixels))


def _pictured(picked: Sequence[_Picked]) -> tuple[Examples, bytes] | None:
    """The examples with their sheet; None where no image can be shown."""
    if not picked:
        return None
    most = max(float((shown[1] - shown[0]).abs().max()) for _, shown in picked)
    scale = max(1, min(LARGEST_SCALE, math.floor(0.5 / max(most, 1e-9) + 0.01)))
    tiles = torch.stack([_tiles(shown, scale) for _, shown in picked])
    columns, (h, w) = tiles.shape[1], tiles.shape[-2:]
    gap = max(1, min(h, w) // 16)
    sheet = sheet_of(tiles, gap)
    if len(sheet) > LARGEST:
        return None
    examples = Examples(
        sha256=hashlib.sha256(sheet).hexdigest(),
        tile=(h, w),
        gap=gap,
        scale=scale,
        columns=BARE if columns == len(BARE) else WHOLE,
        rows=tuple(example for example, _ in picked),
    )
    return examples, sheet


def _tiles(shown: Tensor, scale: int) -> Tensor:
    """The pictures of a row, `(3 or 5, c, h, w)` uint8, of its images."""
    clean, adversarial, *purified = shown
    found = [clean, adversarial, about_grey(adversarial - clean, scale)]
    for each in purified:
        found += [each, about_grey(each - clean, scale)]
    return torch.stack([eight_bits(each) for each in found])


@dataclass(frozen=True, slots=True)
class _Gallery:
    entry: Entry
    planned: Planned

    def picked(self) -> list[_Picked]:
        """The first images that fell, and the first that held; more of the one where the other lacks."""
        unattacked = {row.id for row in self.planned.rows if row.column is Column.CLEAN}
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
        bench, images = self.planned.bench, self.entry.per_image
        job = next(row.job for row in self.planned.rows if row.id == images.chosen[at])
        clean, y, indices = bench.images(at, at + 1)
        start, chosen = self.planned.images(job, at)  # under single draws the first
        x = torch.cat([clean, chosen[at - start, :1].to(clean)])  # (2, c, h, w)
        asked = job.criterion.draws if bench.victim.stochastic else 1
        draws = Draws.of(job.task.seed, indices, bench.dataset.name, bench.split)
        both = torch.zeros(2, dtype=torch.int64, device=x.device)
        draws = draws.at("score").repeat(asked).take(both)
        victim = bench.victim
        with fresh_global_state(job.key, at), torch.no_grad():
            if isinstance(victim, Purified) and self.entry.defense.label != "none":
                purified = victim.purify(x, draws=draws, mode=GradientMode.EXACT)
                shown, logits = torch.cat([x, purified[1:]]), victim.classifier(purified)
            else:  # the undefended classifier, or no one purified image
                shown, logits = x, victim.logits(x, draws=draws, mode=GradientMode.EXACT)
        classes = logits.argmax(1).tolist()
        said = [classes[0] == int(y), classes[1] == int(y)]
        if said != [images.clean[at][0] == "1", images.worst[at][0] == "1"]:
            return None
        example = Example(
            index=images.indices[at],
            label=int(y),
            attack=images.chosen[at],
            predicted_clean=classes[0],
            predicted_adversarial=classes[1],
        )
        return example, shown
