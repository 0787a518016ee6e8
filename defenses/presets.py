"""Presets: what a purifier leaves to the size of its images, found by name or by their shape."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self, TypeVar

from benchmark.engine.arguments import arguments_of
from benchmark.errors import BenchError, unknown

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

AUTO = "auto"
PAPER = "paper"
LEAST = 128
"""The smallest side, in pixels, at which a network that is made for many sizes is used."""

Values = TypeVar("Values", bound="DataclassInstance")
Preset = TypeVar("Preset", bound="Sized")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sized:
    """A preset for images of one size, or of all above one.

    Args:
        name: As it stands in a label, `atop[digits]`.
        side: Height and width of an image, in pixels.
        multiple: Of what sides of at least 128 pixels must be multiples, where it is made for all square images
            of such a side; None for `side` alone.
    """

    name: str
    side: int
    multiple: int | None = None

    @property
    def variant(self) -> str:
        """As it stands in a label; nothing for the paper's own network."""
        return "" if self.name == PAPER else self.name

    def at(self, shape: tuple[int, int, int]) -> Self | None:
        """This preset for images `(c, h, w)`, or None where it is not made for them."""
        _, height, width = shape
        if self.multiple and height == width >= LEAST and not width % self.multiple:
            return replace(self, side=width)
        return self if (height, width) == (self.side, self.side) else None

    @property
    def sizes(self) -> str:
        """For images of which size it is made, in words."""
        if self.multiple:
            return f"square, {LEAST} pixels or more, a multiple of {self.multiple}"
        return f"{self.side}x{self.side}"


def chosen(
    system: str,
    presets: Iterable[Preset],
    name: str,
    shape: tuple[int, int, int],
    *,
    channels: tuple[int, ...] = (),
) -> Preset:
    """The preset of a name, or with `auto` the first one made for images `(c, h, w)` of a shape.

    Args:
        system: What a message calls the purifier.
        presets: All there are; several may have one name.
        name: Of one of them, or `auto`.
        shape: Of the images.
        channels: The c that there may be; none for any.

    Raises:
        BenchError: Nothing has that name, or no preset is made for that shape.
    """
    presets = list(presets)
    names = (AUTO, *dict.fromkeys(preset.name for preset in presets))
    if name not in names:
        raise unknown(f"preset of {system}", name, names)
    fits = [found for p in presets if name in (AUTO, p.name) and (found := p.at(shape))]
    if not fits or (channels and shape[0] not in channels):
        given = f" in {shape[0]} channels" if channels else ""
        known = f", for {' or '.join(map(str, channels))} channels" if channels else ""
        raise BenchError(
            f"{system}'s preset {name!r} is not made for images of {shape[1]}x{shape[2]} pixels{given}; "
            f"there is {', '.join(f'{p.name} ({p.sizes})' for p in presets)}{known}"
        )
    return fits[0]


def with_arguments(preset: Values, of: object, *names: str) -> Values:
    """A preset in which some arguments of a defense or a recipe, where they are not None, replace its own.

    Args:
        preset: Whose fields are replaced.
        of: What was made with these arguments.
        names: Of fields and arguments; what is no argument of it stays the preset's.
    """
    given = arguments_of(of)
    return replace(preset, **{n: given[n] for n in names if given.get(n) is not None})


def joined(*parts: str) -> str:
    """Parts of a variant's name, those that are empty left out."""
    return "-".join(part for part in parts if part)
