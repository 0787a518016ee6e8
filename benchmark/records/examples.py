"""Examples: which images an entry shows, by rule, and what its sheet of pictures holds; no pictures here."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from benchmark.files.schema import Strict
from benchmark.records.identity import Count

Shown = Literal["clean", "adversarial", "change", "purified", "left"]
BARE: tuple[Shown, ...] = ("clean", "adversarial", "change")
"""Columns of a victim without one purified image: an undefended classifier, or several victims together."""
WHOLE: tuple[Shown, ...] = (*BARE, "purified", "left")
MOST = 4
"""Images on a sheet."""
Side = Annotated[int, Field(ge=1, le=1024)]


class Example(Strict):
    """One image of a sheet, and what became of it at the first `score` draw."""

    index: Count
    """Into the split."""
    label: Count
    attack: str
    """Id of the row that made the adversarial image."""
    predicted_clean: Count
    predicted_adversarial: Count


class Examples(Strict):
    """A sheet of pictures beside the entry's file: a row an image, columns as named, transparent in between."""

    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """Of the PNG."""
    tile: tuple[Side, Side]
    """Height and width of one picture, the images' own."""
    gap: Annotated[int, Field(ge=0, le=64)]
    """Transparent pixels between two pictures."""
    scale: Annotated[int, Field(ge=1, le=16)]
    """`change` is grey + scale * (adversarial - clean), `left` is grey + scale * (purified - clean); `purified`
    is the adversarial image as the purifier leaves it, at the first `score` draw."""
    columns: Annotated[tuple[Shown, ...], Field(min_length=3, max_length=5)]
    rows: Annotated[tuple[Example, ...], Field(min_length=1, max_length=MOST)]

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Examples:
        if self.columns not in (BARE, WHOLE):
            raise ValueError(f"expected the columns {BARE} or {WHOLE}")
        return self

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the whole sheet."""
        (height, width), columns, rows = self.tile, len(self.columns), len(self.rows)
        return columns * width + (columns - 1) * self.gap, rows * height + (rows - 1) * self.gap
