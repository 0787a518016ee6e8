"""Sizes of the masked auto-encoder, one for each resolution at which the project runs it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from benchmark.errors import BenchError
from benchmark.registry import unknown

AUTO = "auto"
PAPER = "paper"
LEAST = 128
"""The smallest side, in pixels, at which the paper's own network is used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MAEPreset:
    """What is scaled with the resolution.

    Args:
        name: As it stands in a label, `atop-mae[digits]`.
        side: Height and width of an image, in pixels.
        patch: Side of a patch, in pixels.
        width: Of the encoder's tokens.
        depth: Blocks of the encoder.
        heads: Of its attention.
        decoder_width: Of the decoder's tokens.
        decoder_depth: Blocks of the decoder.
        decoder_heads: Of its attention.
        ratio: Share of the patches that the encoder does not see.
        sigma: Standard deviation of the noise, in units where pixels live in [0, 1].
        ce_weight: Lambda of the fine-tuning's loss.
        steps: Optimiser steps in all.
        pretraining: How many of them come before fine-tuning.
        batch_size: Images in a step.
        learning_rate: Of AdamW at its highest.
    """

    name: str
    side: int
    patch: int
    width: int
    depth: int
    heads: int
    decoder_width: int
    decoder_depth: int
    decoder_heads: int
    ratio: float = 0.75
    sigma: float = 0.25
    ce_weight: float = 0.1
    steps: int
    pretraining: int
    batch_size: int
    learning_rate: float

    @property
    def variant(self) -> str:
        """As it stands in a label; nothing for the paper's own network."""
        return "" if self.name == PAPER else self.name

    @property
    def grid(self) -> int:
        """Patches on a side."""
        return self.side // self.patch

    def at(self, shape: tuple[int, int, int]) -> MAEPreset | None:
        """This preset for images `(c, h, w)`, or None where it is not made for them.

        The paper's network is made for all square images of at least 128 pixels a side that is a multiple of
        its patches'; its own are of 224.
        """
        _, height, width = shape
        if self.name == PAPER and height == width >= LEAST and not width % self.patch:
            return replace(self, side=width)
        return self if (height, width) == (self.side, self.side) else None


PRESETS: Mapping[str, MAEPreset] = {
    preset.name: preset
    for preset in (
        MAEPreset(
            name="digits",
            side=8,
            patch=2,
            width=64,
            depth=4,
            heads=4,
            decoder_width=48,
            decoder_depth=1,
            decoder_heads=4,
            ratio=0.25,
            sigma=0.1,
            steps=3000,
            pretraining=750,
            batch_size=64,
            learning_rate=2e-3,
        ),
        MAEPreset(
            name="28px",
            side=28,
            patch=4,
            width=128,
            depth=6,
            heads=4,
            decoder_width=96,
            decoder_depth=2,
            decoder_heads=4,
            steps=12000,
            pretraining=6000,
            batch_size=128,
            learning_rate=1e-3,
        ),
        MAEPreset(
            name="32px",
            side=32,
            patch=4,
            width=192,
            depth=12,
            heads=3,
            decoder_width=128,
            decoder_depth=2,
            decoder_heads=4,
            steps=80000,
            pretraining=60000,
            batch_size=128,
            learning_rate=1e-3,
        ),
        MAEPreset(
            name=PAPER,
            side=224,
            patch=16,
            width=768,
            depth=12,
            heads=12,
            decoder_width=512,
            decoder_depth=8,
            decoder_heads=16,
            steps=400000,
            pretraining=360000,
            batch_size=64,
            learning_rate=1.5e-4,
        ),
    )
}
"""`auto` takes the first that is made for a shape."""


def preset_for(name: str, shape: tuple[int, int, int]) -> MAEPreset:
    """The preset of a name, or with `auto` the one made for images `(c, h, w)` of a shape.

    Raises:
        BenchError: Nothing has that name, or no preset is made for that shape.
    """
    if name != AUTO and name not in PRESETS:
        raise unknown("preset of atop-mae", name, (AUTO, *PRESETS))
    fits = [found for p in PRESETS.values() if name in (AUTO, p.name) and (found := p.at(shape))]
    if not fits:
        made_for = ", ".join(f"{p.name} ({_sizes(p)})" for p in PRESETS.values())
        raise BenchError(
            f"atop-mae's preset {name!r} is not made for images of {shape[1]}x{shape[2]} pixels; there is "
            f"{made_for}"
        )
    return fits[0]


def _sizes(preset: MAEPreset) -> str:
    if preset.name == PAPER:
        return f"square, {LEAST} pixels or more, a multiple of {preset.patch}"
    return f"{preset.side}x{preset.side}"
