"""Gradients measured: which modes a victim's gradients come in, and which of them are confirmed; no torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Final, Literal

from pydantic import Field, model_validator

from benchmark.files.schema import Strict

Share = Annotated[float, Field(ge=0, le=1)]
Mode = Literal["exact", "bpda", "recovered"]
Cosine = Annotated[float, Field(ge=-1, le=1)]

SLOPES: Final = 0.9
"""The share of points at which a confirmed gradient is the derivative. On digits it is 1.00 for the shipped
purifiers' own (of masks: for those that are recovered), and below 0.12 for all else."""
COSINE: Final = 0.5
"""The least cosine of a confirmed gradient with what steps of a quarter of the budget do."""
ZEROS: Final = 0.05
"""The share of images on which a confirmed gradient may be zero."""
MOVED: Final = 0.5
"""The share of images whose answers must change at all for a slope to be asked for: below it they saturate."""


class MeasuredGradient(Strict):
    """One gradient mode of a victim, on the images that it was measured on."""

    mode: Mode
    same_as: Literal["", "exact", "bpda"] = ""
    """An earlier mode whose gradient is this one, to a cosine of .999 on every image; empty where none is."""
    zeros: Share = 1.0
    """The share of images on which it is zero everywhere."""
    slopes: Share | None = None
    """The share of points at which it is the derivative, by central differences in float64 at frozen draws;
    None where that could not be told."""
    cosine: Cosine = 0.0
    """With the answers' changes over steps of a quarter of the budget, at frozen draws."""
    error: str = ""
    """Why there is none of it; empty where there is."""

    @property
    def is_confirmed(self) -> bool:
        """Whether finite differences and the answers at attack-sized steps both agree with it."""
        agrees = self.slopes is not None and self.slopes >= SLOPES and self.cosine >= COSINE
        return agrees and self.zeros <= ZEROS and not self.error


class MeasuredGradients(Strict):
    """The gradient modes of a victim, half on clean images and half on images moved by random signs."""

    images: Annotated[int, Field(ge=1)]
    moved: Share
    """The share of them whose answers change at all over steps of a quarter of the budget."""
    floor: Annotated[float, Field(ge=0)]
    """One standard deviation of a cosine by chance alone."""
    modes: tuple[MeasuredGradient, MeasuredGradient, MeasuredGradient]
    """Exact, bpda and recovered."""

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> MeasuredGradients:
        names = [each.mode for each in self.modes]
        if names != ["exact", "bpda", "recovered"]:
            raise ValueError(f"modes: expected exact, bpda and recovered, got {', '.join(names)}")
        for i, each in enumerate(self.modes):
            others = [other.mode for other in self.modes[:i] if not other.same_as]
            if each.same_as and each.same_as not in others:
                raise ValueError(f"modes: {each.mode} is the same as {each.same_as}, which is none")
        return self

    @property
    def distinct(self) -> list[MeasuredGradient]:
        """Those that lead somewhere, each once; `bpda` alone where none does.

        A recovered gradient, which takes long, is left out where the exact one is hardly ever zero and tells as
        much of the answers, by all that chance leaves to say.
        """
        found = [each for each in self.modes if not each.same_as and not each.error]
        exact, recovered = self.modes[0], self.modes[2]
        tells_as_much = exact.cosine >= recovered.cosine - self.floor
        if exact in found and exact.zeros <= ZEROS and tells_as_much:
            found = [each for each in found if each is not recovered]
        return [each for each in found if each.zeros < 1] or [self.modes[1]]

    @property
    def confirmed(self) -> list[MeasuredGradient]:
        """Those of them that are, best first."""
        return [each for each in self.best if each.is_confirmed]

    @property
    def best(self) -> list[MeasuredGradient]:
        """The distinct ones, those first that tell most of the answers."""
        return sorted(self.distinct, key=lambda each: -each.cosine)

    @property
    def is_saturated(self) -> bool:
        """Whether most answers do not change over such steps: only labels can be asked for."""
        return self.moved < MOVED


WISHES: Final[dict[str, Callable[[MeasuredGradients], list[MeasuredGradient]]]] = {
    "measured": lambda found: found.distinct,
    "confirmed": lambda found: found.confirmed[:1] or found.best[:2],
    "guide": lambda found: found.best[:1],
}
"""What a protocol's row may ask for in place of modes: all that differ; the confirmed one, or where there is
none the two that tell most; the one that tells most."""
