"""The random transforms of AToP, RT1 to RT3, and Trust-no-pixel's: masks and noise, for each image its own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import torch
from torch import Tensor

from benchmark.engine.randomness import Draws
from benchmark.errors import BenchError
from benchmark.registry import unknown
from defenses.atop.presets import Preset


class Kind(StrEnum):
    """Which transform (Lin et al., "Adversarial training on purification (AToP)", ICLR 2024, section 3.2)."""

    RT1 = "rt1"
    """One mask."""
    RT2 = "rt2"
    """Noise, then one mask."""
    RT3 = "rt3"
    """Noise, then N masks with disjoint holes, whose fillings together make the image."""
    PIXELS = "pixels"
    """Every patch assigned to one of N masks, independently of all others, and no noise: Trust-no-pixel
    (Ughini, Samele and Matteucci, IJCNN 2022)."""


RTS = (Kind.RT1, Kind.RT2, Kind.RT3)
"""AToP's own."""


@dataclass(frozen=True, slots=True)
class Views:
    """What the generator is shown: n views of each of b images, all of one view, then all of the next.

    Args:
        images: `(n * b, c, h, w)`, noisy, not masked.
        keep: `(n * b, 1, h, w)`, 1 where the generator sees the image, 0 in holes.
        count: n.
    """

    images: Tensor
    keep: Tensor
    count: int

    def compose(self, filled: Tensor) -> Tensor:
        """Purified images `(b, c, h, w)` out of the generator's outputs `(n * b, c, h, w)`.

        With one view the whole output, also where nothing was masked; with more, from each view its holes:
        `sum_i (1 - m_i) * g(m_i * x)`.
        """
        if self.count == 1:
            return filled
        holes = (1 - self.keep) * filled
        return holes.view(self.count, -1, *filled.shape[1:]).sum(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Transform:
    """A random transform with its strength.

    Args:
        kind: RT1, RT2, RT3 or Trust-no-pixel's.
        sigma: Standard deviation of the noise, in units where pixels live in [0, 1]; RT1 and
            Trust-no-pixel have none.
        patch: Side of a masked patch, in pixels.
        ratio: Share of the patches in one mask's holes; with N masks it is 1 / `copies`.
        copies: N, the number of masks of RT3 and Trust-no-pixel.
    """

    kind: Kind
    sigma: float
    patch: int
    ratio: float
    copies: int

    def __post_init__(self) -> None:
        if not 0 <= self.sigma < math.inf:
            raise BenchError(f"atop's sigma is a number from 0 up; got {self.sigma!r}")
        if not self.patch >= 1:
            raise BenchError(f"atop's patch is a number of pixels from 1 up; got {self.patch!r}")
        if not 0 < self.ratio < 1:
            raise BenchError(f"atop's ratio lies between 0 and 1; got {self.ratio!r}")
        if not self.copies >= 2:
            raise BenchError(f"atop's copies are at least 2; got {self.copies!r}")

    def views(self, x: Tensor, *, draws: Draws, is_one: bool = False) -> Views:
        """The views of images `(b, c, h, w)` in [0, 1], differentiable in `x`.

        Args:
            x: The images.
            draws: Of the b images.
            is_one: Whether, of N views, only one of each image's is given, drawn at random; for training.
        """
        if self.kind in (Kind.RT3, Kind.PIXELS):
            groups = self.groups(x.shape[2], x.shape[3], draws=draws)  # (b, h, w)
            images = self._noisy(x, draws) if self.kind is Kind.RT3 else x
            if is_one:
                shown = draws.at("one").integers(self.copies).view(-1, 1, 1)
                return Views(images, (groups != shown).unsqueeze(1).to(x.dtype), 1)
            keep = torch.cat([groups != i for i in range(self.copies)])
            images = images.repeat(self.copies, 1, 1, 1)
            return Views(images, keep.unsqueeze(1).to(x.dtype), self.copies)
        keep = self.ranks(x.shape[2], x.shape[3], draws=draws) >= self.holes(*x.shape[2:])
        images = x if self.kind is Kind.RT1 else self._noisy(x, draws).clamp(0.0, 1.0)
        return Views(images, keep.unsqueeze(1).to(x.dtype), 1)

    def groups(self, height: int, width: int, *, draws: Draws) -> Tensor:
        """In which of N masks' holes each pixel lies, `(b, h, w)` int64; all pixels of a patch in the same.

        RT3's holes are of one size, but for what N does not divide; Trust-no-pixel's are not.
        """
        rows, columns = self._grid(height, width)
        if self.kind is Kind.PIXELS:
            groups = draws.at("mask").integers(self.copies, (rows, columns))
            return self._enlarged(groups, height, width)
        return self.ranks(height, width, draws=draws) * self.copies // (rows * columns)

    def holes(self, height: int, width: int) -> int:
        """How many patches of an image one mask takes away."""
        rows, columns = self._grid(height, width)
        return max(1, round(self.ratio * rows * columns))

    def ranks(self, height: int, width: int, *, draws: Draws) -> Tensor:
        """Each pixel's patch's place in a random order of all patches, `(b, h, w)` int64."""
        rows, columns = self._grid(height, width)
        order = draws.at("mask").permutations(rows * columns).view(-1, rows, columns)
        return self._enlarged(order, height, width)

    def _enlarged(self, values: Tensor, height: int, width: int) -> Tensor:
        """Values of patches `(b, rows, columns)` as values of their pixels `(b, h, w)`."""
        p = self.patch
        return values.repeat_interleave(p, 1).repeat_interleave(p, 2)[:, :height, :width]

    def _grid(self, height: int, width: int) -> tuple[int, int]:
        return math.ceil(height / self.patch), math.ceil(width / self.patch)

    def _noisy(self, x: Tensor, draws: Draws) -> Tensor:
        noise = draws.at("noise").normal(tuple(x.shape[1:]), dtype=x.dtype)
        return x + self.sigma * noise


def transform_for(preset: Preset, name: str, copies: int) -> Transform:
    """The transform of a name, of the preset's strength.

    Raises:
        BenchError: No transform has that name, or a strength is out of range.
    """
    sigma, patch, ratio = preset.sigma, preset.patch, preset.ratio
    return Transform(kind=kind_of(name), sigma=sigma, patch=patch, ratio=ratio, copies=copies)


def pixelwise(preset: Preset, *, tile: int, copies: int) -> Transform:
    """Trust-no-pixel's transform: partitions of the image into so many masks, without noise.

    Raises:
        BenchError: An argument is out of range.
    """
    return transform_for(replace(preset, sigma=0.0, patch=tile), Kind.PIXELS, copies)


def kind_of(name: str, known: Sequence[Kind] = tuple(Kind)) -> Kind:
    """The transform of a name.

    Raises:
        BenchError: No transform has that name.
    """
    if name not in known:
        raise unknown("transform of atop", name, known)
    return Kind(name)
