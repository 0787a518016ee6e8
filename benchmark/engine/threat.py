"""Threats: which changed images an attacker may show, and what he knows."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from types import MappingProxyType
from typing import TYPE_CHECKING

from benchmark.errors import BenchError, did_you_mean, near, quoted

if TYPE_CHECKING:
    from torch import Tensor

ROUNDING = 1e-5
"""How far float32 arithmetic may carry an image over its budget, relative to eps or to 1."""


class Norm(StrEnum):
    """The lp norms in which the size of a perturbation is measured."""

    LINF = "linf"
    L2 = "l2"


class NamedSet(StrEnum):
    """Sets of changed images that are no lp ball."""

    STADV = "stadv"
    """Pixels are read elsewhere: the longest way along either axis, where the image is 2 wide and 2 high."""
    SPATIAL = "spatial"
    """The whole image is rotated and shifted: at 1 by up to 30 degrees, and 10 % of its width and height."""
    WASSERSTEIN = "wasserstein"
    """Brightness is carried to other pixels: pixels of way, on average over all the brightness of the image."""
    PIXELS = "pixels"
    """Any value in some pixels: how many pixels differ in any channel."""
    STICKER = "sticker"
    """Any value under one sticker: the smallest upright rectangle that holds every changed pixel, as a share of
    the image's area."""


_KINDS: Mapping[str, tuple[str, float, str]] = MappingProxyType(
    {
        Norm.LINF: ("linf:8/255", 1, "at most 1, in pixel units of [0, 1]"),
        Norm.L2: ("l2:0.5", 1e4, "at most 10000, in pixel units of [0, 1]"),
        NamedSet.STADV: ("stadv:0.05", 2, "at most 2, the width of the image"),
        NamedSet.SPATIAL: ("spatial:1", 6, "at most 6, which is half a turn"),
        NamedSet.WASSERSTEIN: ("wasserstein:0.15", 1e4, "at most 10000, in pixels"),
        NamedSet.PIXELS: ("pixels:10", 1e8, "at most 100000000, a whole number of pixels"),
        NamedSet.STICKER: ("sticker:0.1", 1, "at most 1, the whole image"),
    }
)
"""Of every kind an example, what eps is at most, and how that is said; no image that fits a computer's memory
needs more."""
EXAMPLES: Mapping[str, str] = MappingProxyType({name: kind[0] for name, kind in _KINDS.items()})
"""A threat of every kind, as the command line takes it."""
SMALLEST = 1e-6
"""The least eps that is read; less changes no float32 pixel beyond rounding."""


class Knowledge(StrEnum):
    """What the attacker may look at."""

    OBLIVIOUS = "oblivious"
    """The bare classifier, with gradients; not the purifier."""
    TRANSFER = "transfer"
    """Other classifiers for the same task; neither the classifier nor the purifier."""
    BLACK_BOX = "black-box"
    """The outputs of the whole victim, for as many queries as are counted."""
    WHITE_BOX = "white-box"
    """Everything, the purifier included, but not what a random one will draw."""
    KNOWN_DRAW = "known-draw"
    """Everything, and the one draw at which each image will be judged."""


@dataclass(frozen=True, slots=True)
class Threat:
    """All images within `eps` of the clean one.

    Args:
        norm: An lp norm of the difference, over all pixels and channels at the classifier's resolution; or the
            name of a set that is no lp ball.
        eps: The greatest allowed size, above 0: of lp norms in pixel units where images live in [0, 1] (for
            linf at most 1), of the others as `NamedSet` says.
    """

    norm: Norm | NamedSet
    eps: float

    def __post_init__(self) -> None:
        _, top, said = _KINDS[self.norm]
        is_in_range = 0 < self.eps <= top  # written so that NaN fails too
        if not is_in_range or (self.norm is NamedSet.PIXELS and self.eps != self.eps // 1):
            mend = " (write 8/255, not 8)" if self.norm is Norm.LINF and self.eps > 1 else ""
            article = "an" if self.norm in tuple(Norm) else "a"
            raise BenchError(
                f"{article} {self.norm} threat's eps is above 0 and {said}; got {self.eps!r}{mend}"
            )

    @classmethod
    def parse(cls, text: str) -> Threat:
        """Reads `linf:8/255`, `l2:0.5`, `stadv:0.05` and the like: `EXAMPLES` has one of every kind.

        Raises:
            BenchError: It is not of that form, or eps is out of range.
        """
        form = f"expected NORM:EPS such as {', '.join(EXAMPLES.values())}"
        name, colon, amount = text.strip().lower().partition(":")
        if name not in EXAMPLES or not colon:
            hint = did_you_mean(f"{known}:{amount or '...'}" for known in near(name, EXAMPLES))
            raise BenchError(f"threat {quoted(text)} is not understood: {form}.{hint}")
        number = r"[+-]?(?:[0-9]{1,30}\.?[0-9]{0,30}|\.[0-9]{1,30})(?:e[+-]?[0-9]{1,3})?"
        found = re.fullmatch(rf"({number})(?:/({number}))?", amount)
        try:
            over, under = found.groups("1") if found else ("", "")
            eps = float(Fraction(over) / Fraction(under))
        except (ValueError, ZeroDivisionError, OverflowError) as error:
            raise BenchError(
                f"threat {quoted(text)}: {quoted(amount)} is no number that can be used: {form}"
            ) from error
        if 0 < eps < SMALLEST:
            raise BenchError(f"threat {quoted(text)}: eps is at least {SMALLEST:g}; got {eps!r}")
        return cls(Norm(name) if name in tuple(Norm) else NamedSet(name), eps)

    def __str__(self) -> str:
        steps = self.eps * 255
        whole = round(steps)
        exact = self.norm is Norm.LINF and whole >= 1 and abs(steps - whole) < 1e-9
        return f"{self.norm}:{whole}/255" if exact else f"{self.norm}:{self.eps:g}"

    @property
    def slug(self) -> str:
        """The threat as a folder's name: `linf-8-255`, `linf-0.15`."""
        return str(self).replace(":", "-").replace("/", "-")

    @property
    def is_read_off(self) -> bool:
        """Whether images alone say how large a change is; else the attack names the change's parameters."""
        return isinstance(self.norm, Norm) or self.norm in (NamedSet.PIXELS, NamedSet.STICKER)

    def size(self, x: Tensor, x_adv: Tensor) -> Tensor:
        """How large each image's change is, `(b,)`; images `(b, c, h, w)`.

        Raises:
            BenchError: Images do not say it: the change is known by its parameters alone.
        """
        if self.norm is NamedSet.PIXELS:
            return _changed(x, x_adv).flatten(1).sum(1).to(x.dtype)
        if self.norm is NamedSet.STICKER:
            changed = _changed(x, x_adv)
            h, w = changed.shape[1:]
            return (_extent(changed.any(2)) * _extent(changed.any(1))).to(x.dtype) / (h * w)
        if not isinstance(self.norm, Norm):
            raise BenchError(
                f"two images do not say how large a change is that threat {self} allows: what is expected are "
                f"the change's parameters, as benchmark.engine.attacking.perturbations holds them"
            )
        δ = (x_adv - x).flatten(1)
        return δ.abs().amax(1) if self.norm is Norm.LINF else δ.norm(dim=1)

    def project(self, x: Tensor, x_adv: Tensor) -> Tensor:
        """The images of `x_adv` moved into the lp ball around `x` and into [0, 1].

        Raises:
            BenchError: The threat is no lp ball.
        """
        self._refuse_named_set()
        δ = x_adv - x
        if self.norm is Norm.LINF:
            δ = δ.clamp(-self.eps, self.eps)
        else:
            δ = δ * (self.eps / _length(δ)).clamp_max(1.0)
        return (x + δ).clamp(0.0, 1.0)

    def direction(self, gradient: Tensor) -> Tensor:
        """The steepest ascent step of norm 1 for a gradient `(b, c, h, w)`: its sign, or its unit vector.

        Raises:
            BenchError: The threat is no lp ball.
        """
        self._refuse_named_set()
        return gradient.sign() if self.norm is Norm.LINF else gradient / _length(gradient)

    def _refuse_named_set(self) -> None:
        if not isinstance(self.norm, Norm):
            raise BenchError(
                f"threat {self} is no lp ball: it has no projection and no steepest direction; an attack of it "
                f"keeps inside by its own parameters"
            )


def _length(δ: Tensor) -> Tensor:
    """The l2 norm of each image's change, `(b, 1, 1, 1)`, above 0."""
    length: Tensor = δ.flatten(1).norm(dim=1).clamp_min(1e-12)
    return length.view(-1, 1, 1, 1)


def _changed(x: Tensor, x_adv: Tensor) -> Tensor:
    """Which pixels differ in any channel, `(b, h, w)`; NaN differs from everything."""
    return (x_adv != x).any(1)


def _extent(hit: Tensor) -> Tensor:
    """From the first hit to the last of each row `(b, n)`, both counted, `(b,)`; 0 where there is none."""
    after_first, before_last = hit.cumsum(1) > 0, hit.flip(1).cumsum(1).flip(1) > 0
    return (after_first & before_last).sum(1)
