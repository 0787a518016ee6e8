"""An entry with example images, and their sheet, made by hand."""

from __future__ import annotations

import hashlib

import torch

from benchmark.evaluation.execute.examples import sheet_of
from benchmark.records.entry import Entry
from benchmark.records.examples import BARE, WHOLE, Example, Examples
from tests.helpers.run_builder import WHOLE as ROWS
from tests.helpers.run_builder import Run

FALLEN = (2, 3, 4)
"""Positions of the images of `records.WHOLE` that are right when clean and fall."""


def pictured(*, is_bare: bool = False, **fields: object) -> tuple[Entry, bytes]:
    """An entry that shows three images of 8 x 8, and the sheet."""
    entry = Run(**{"rows": ROWS, **fields}).entry()
    columns = BARE if is_bare else WHOLE
    shape = (len(FALLEN), len(columns), 1, 8, 8)
    generator = torch.Generator().manual_seed(1)
    sheet = sheet_of(torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator), gap=1)
    images = entry.per_image
    examples = Examples(
        sha256=hashlib.sha256(sheet).hexdigest(),
        tile=(8, 8),
        gap=1,
        scale=15,
        columns=columns,
        rows=tuple(
            Example(
                index=images.indices[i],
                label=images.labels[i],
                attack=images.chosen[i],
                predicted_clean=images.labels[i],
                predicted_adversarial=9,
            )
            for i in FALLEN
        ),
    )
    return entry.model_copy(update={"examples": examples}), sheet
