"""Threats: which changed images an attacker may show, and what he knows."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from typing import TYPE_CHECKING

from benchmark.errors import BenchError

if TYPE_CHECKING:
    from torch import Tensor

ROUNDING = 1e-5
"""How far float32 arithmetic may carry an image over its budget, relative to eps or to 1."""


class Norm(StrEnum):
    """How the size of a perturbation is measured."""

    LINF = "linf"
    L2 = "l2"


class Knowledge(StrEnum):
    """What the attacker may look at."""

    OBLIVIOUS = "oblivious"
    """The bare classifier, with gradients; not the purifier."""
    TRANSFER = "transfer"
    """Other classifiers for the same task; neither the classifier nor the purifier."""
    BLACK_BOX = "black-box"
    """The outputs of the whole victim, for as many queries as are counted."""
    WHITE_BOX = "white-box"
    """Everything, the purifier included."""


@dataclass(frozen=True, slots=True)
class Threat:
    """All images within `eps` of the clean one, in pixel units where images live in [0, 1].

    Args:
        norm: The norm of the difference, over all pixels and channels at the classifier's resolution.
        eps: Its greatest allowed value, above 0. For linf at most 1.
    """

    norm: Norm
    eps: float

    def __post_init__(self) -> None:
        top = 1.0 if self.norm is Norm.LINF else float("inf")
        if not 0 < self.eps <= top:
            raise BenchError(
                f"a threat's eps is above 0{' and at most 1' if top == 1 else ''} in pixel units of "
                f"[0, 1]; got {self.eps!r} (write 8/255, not 8)"
            )

    @classmethod
    def parse(cls, text: str) -> Threat:
        """Reads `linf:8/255`, `linf:0.15` or `l2:0.5`.

        Raises:
            BenchError: It is not of that form, or eps is out of range.
        """
        form = "expected NORM:EPS such as linf:8/255 or l2:0.5"
        name, colon, amount = text.strip().lower().partition(":")
        if name not in tuple(Norm) or not colon:
            raise BenchError(f"threat {text!r} is not understood: {form}")
        if not re.fullmatch(r"-?\d*\.?\d+(e-?\d+)?(/\d*\.?\d+)?", amount):
            raise BenchError(f"threat {text!r} has no number behind the colon: {form}")
        over, _, under = amount.partition("/")
        try:
            eps = float(Fraction(over) / Fraction(under or "1"))
        except (ValueError, ZeroDivisionError) as error:
            raise BenchError(f"threat {text!r} has no number behind the colon: {form}") from error
        return cls(Norm(name), eps)

    def __str__(self) -> str:
        steps = self.eps * 255
        whole = round(steps)
        exact = self.norm is Norm.LINF and whole >= 1 and abs(steps - whole) < 1e-9
        return f"{self.norm}:{whole}/255" if exact else f"{self.norm}:{self.eps:g}"

    @property
    def slug(self) -> str:
        """The threat as a folder's name: `linf-8-255`, `linf-0.15`."""
        return str(self).replace(":", "-").replace("/", "-")

    def size(self, x: Tensor, x_adv: Tensor) -> Tensor:
        """The norm of each image's change, `(b,)`; images `(b, c, h, w)`."""
        δ = (x_adv - x).flatten(1)
        return δ.abs().amax(1) if self.norm is Norm.LINF else δ.norm(dim=1)

    def project(self, x: Tensor, x_adv: Tensor) -> Tensor:
        """The images of `x_adv` moved into the budget around `x` and into [0, 1]."""
        δ = x_adv - x
        if self.norm is Norm.LINF:
            δ = δ.clamp(-self.eps, self.eps)
        else:
            length = δ.flatten(1).norm(dim=1).clamp_min(1e-12).view(-1, 1, 1, 1)
            δ = δ * (self.eps / length).clamp_max(1.0)
        return (x + δ).clamp(0.0, 1.0)

    def direction(self, gradient: Tensor) -> Tensor:
        """The steepest ascent step of norm 1 for a gradient `(b, c, h, w)`: its sign, or its unit vector."""
        if self.norm is Norm.LINF:
            return gradient.sign()
        length = gradient.flatten(1).norm(dim=1).clamp_min(1e-12).view(-1, 1, 1, 1)
        unit: Tensor = gradient / length
        return unit
