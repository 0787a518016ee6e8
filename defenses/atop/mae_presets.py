"""Sizes of the masked auto-encoder, one for each resolution at which the project runs it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from defenses.presets import PAPER, Sized, chosen


@dataclass(frozen=True, slots=True, kw_only=True)
class MAEPreset(Sized):
    """What is scaled with the resolution.

    Args:
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

    patch: int = 4
    width: int
    depth: int = 12
    heads: int = 4
    decoder_width: int
    decoder_depth: int = 2
    decoder_heads: int = 4
    ratio: float = 0.75
    sigma: float = 0.25
    ce_weight: float = 0.1
    steps: int
    pretraining: int
    batch_size: int = 128
    learning_rate: float = 1e-3

    @property
    def grid(self) -> int:
        """Patches on a side."""
        return self.side // self.patch


PRESETS: Mapping[str, MAEPreset] = {
    preset.name: preset
    for preset in (
        MAEPreset(
            name="digits",
            side=8,
            patch=2,
            width=64,
            depth=4,
            decoder_width=48,
            decoder_depth=1,
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
            width=128,
            depth=6,
            decoder_width=96,
            steps=12000,
            pretraining=6000,
        ),
        MAEPreset(
            name="32px",
            side=32,
            width=192,
            heads=3,
            decoder_width=128,
            steps=80000,
            pretraining=60000,
        ),
        MAEPreset(
            name=PAPER,
            side=224,
            multiple=16,
            patch=16,
            width=768,
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
    """The preset of a name, or with `auto` the one made for images `(c, h, w)` of a shape; see `chosen`."""
    return chosen("atop-mae", PRESETS.values(), name, shape)
