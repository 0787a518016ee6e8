"""Sizes of AToP's networks and transforms, one for each resolution at which the project runs it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from defenses.presets import PAPER, Sized, chosen


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset(Sized):
    """What is scaled with the resolution.

    Args:
        width: The generator's base width (`cnum`; 48 in the paper): half of it at full resolution, doubled at
            each downsampling.
        downsamplings: How often a stage halves the resolution.
        dilations: Rates of the dilated convolutions at the lowest resolution.
        branches: Encoders of the fine stage, 1 or 2.
        critic: Widths of the discriminator's layers, each of which halves the resolution.
        patch: Side of a masked patch, in pixels.
        ratio: Share of the patches that a mask takes away.
        sigma: Standard deviation of the noise, in units where pixels live in [0, 1].
        ce_weight: Lambda of Eq. 9 in training.
        gan: Whether the GAN's gradient reaches the generator: `paper`, it does; `code`, it does not.
        tolerance: Differences of pixels, in [-1, 1], below which the L1 terms are quadratic; 0 for plain L1.
        ground: With what both stages' last layers begin, before tanh; None is what any convolution begins with.
        restarts: Whether fine-tuning begins with Adam's moments at 0, as in the released code, where it is a
            run of its own; on those of pre-training, its larger gradients make the first steps too long.
        attends: Whether the second encoder has contextual attention.
        steps: Optimiser steps in all.
        pretraining: How many of them come before fine-tuning.
        batch_size: Images in a step.
        learning_rate: Of Adam at the beginning.
    """

    width: int = 48
    downsamplings: int = 2
    dilations: tuple[int, ...] = (1, 2, 4)
    branches: int = 1
    critic: tuple[int, ...] = (64, 128, 256, 256)
    patch: int = 4
    ratio: float = 0.25
    sigma: float = 0.25
    ce_weight: float = 0.1
    gan: str = "paper"
    tolerance: float = 0.0
    ground: float | None = None
    restarts: bool = True
    attends: bool = False
    steps: int = 4000
    pretraining: int = 500
    batch_size: int = 64
    learning_rate: float = 1e-3

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels at each resolution, the full one first: 24, 48, 96 in the paper."""
        return tuple(self.width * 2**level // 2 for level in range(self.downsamplings + 1))


def _mostly_black(preset: Preset) -> Preset:
    """As MNIST's images want it: most pixels are black, which is where tanh ends and has no slope.

    Under plain L1 black pixels pull with full force however near they are, until the few others can no longer
    be heard: hence the tolerance. And what begins at mid-grey comes to black at a run, on which every layer
    learns to be dark whatever it sees: hence the ground.
    """
    return replace(preset, tolerance=0.2, ground=-1.0, ce_weight=0.5, gan="code")


_WIDE = Preset(name="32px", side=32, branches=2, steps=24000, pretraining=6000)
"""The paper's widths and both encoders, without contextual attention."""
_SMALL = Preset(
    name="32px-small", side=32, width=16, critic=(16, 32, 64, 64), steps=6000, pretraining=1500
)
"""A third of the width and one encoder: for a CPU."""

PRESETS: Mapping[str, Preset] = {
    preset.name: preset
    for preset in (
        Preset(
            name="digits",
            side=8,
            width=32,
            downsamplings=1,
            dilations=(1, 2),
            critic=(32, 64, 64),
            patch=1,
            sigma=0.1,
            ce_weight=0.5,
            restarts=False,
        ),
        _mostly_black(replace(_WIDE, name="28px", side=28, steps=8000, pretraining=2000)),
        _WIDE,
        replace(_WIDE, name="64px", side=64, dilations=(1, 2, 4, 8), patch=8),
        Preset(
            name=PAPER,
            side=256,
            multiple=8,  # a stage halves sides twice, contextual attention once more
            dilations=(2, 4, 8, 16),
            branches=2,
            critic=(64, 128, 256, 256, 256, 256),
            patch=32,
            attends=True,
            steps=80000,
            pretraining=40000,
            batch_size=8,
            learning_rate=1e-4,
        ),
        _mostly_black(replace(_SMALL, name="28px-small", side=28, steps=4000, pretraining=1000)),
        _SMALL,
    )
}
"""`auto` takes the first that is made for a shape."""


def preset_for(name: str, shape: tuple[int, int, int]) -> Preset:
    """The preset of a name, or with `auto` the one made for images `(c, h, w)` of a shape; see `chosen`.

    The paper's patches are an eighth of the images' side.
    """
    found = chosen("atop", PRESETS.values(), name, shape)
    return replace(found, patch=found.side // 8) if found.name == PAPER else found
