"""Examples: which images an entry shows, by rule, and what its sheet of pictures holds; no pictures here."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from benchmark.publishing.identity import Count
from benchmark.strict import Strict

if TYPE_CHECKING:
    from benchmark.publishing.entry import Entry, PerImage

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
        return (
            _along(self.tile[1], self.gap, len(self.columns)),
            _along(self.tile[0], self.gap, len(self.rows)),
        )


def _along(side: int, gap: int, n: int) -> int:
    return n * side + (n - 1) * gap


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


def problems_of_examples(entry: Entry) -> Iterator[str]:
    """What examples say that their entry does not, one line each."""
    if entry.examples is None:
        return
    images, shown = entry.per_image, entry.examples
    if shown.tile != entry.threat.input_shape[1:]:
        yield f"examples.tile is {shown.tile}, and images are {entry.threat.input_shape[1:]}"
    names = {row.id for row in entry.attacks}
    for example in shown.rows:
        if example.attack not in names:
            yield f"examples: {example.attack!r} is no attack of the entry"
        if example.index not in images.indices or not images.clean:
            yield f"examples: image {example.index} is none of the entry's"
            continue
        at = images.indices.index(example.index)
        challenged = images.chosen[at] not in names
        said = [example.predicted_clean == example.label, example.label == images.labels[at]]
        if said != [images.clean[at][0] == "1", True]:
            yield f"examples: image {example.index} has another label, or another clean outcome"
        is_right = example.predicted_adversarial == example.label
        made = (images.chosen[at], images.worst[at][0] == "1")
        if not challenged and (example.attack, is_right) != made:
            yield f"examples: image {example.index} has another worst case"
