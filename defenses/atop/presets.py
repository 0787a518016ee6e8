"""Sizes of AToP's networks and transforms, one for each resolution at which the project runs it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from benchmark.errors import BenchError
from benchmark.registry import unknown

AUTO = "auto"
PAPER = "paper"
LEAST = 128
"""The smallest side, in pixels, at which the paper's own network is used."""
STEP = 8
"""What its sides are multiples of: a stage halves them twice, contextual attention once more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """What is scaled with the resolution.

    Args:
        name: As it stands in a label, `atop[digits]`.
        side: Height and width of an image, in pixels.
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
        shift: By how many pixels at the most training images are moved, each way.
        attends: Whether the second encoder has contextual attention.
        steps: Optimiser steps in all.
        pretraining: How many of them come before fine-tuning.
        batch_size: Images in a step.
        learning_rate: Of Adam at the beginning.
    """

    name: str
    side: int
    width: int
    downsamplings: int
    dilations: tuple[int, ...]
    branches: int
    critic: tuple[int, ...]
    patch: int
    ratio: float = 0.25
    sigma: float = 0.25
    ce_weight: float = 0.1
    gan: str = "paper"
    tolerance: float = 0.0
    ground: float | None = None
    restarts: bool = True
    shift: int = 0
    attends: bool = False
    steps: int = 4000
    pretraining: int = 500
    batch_size: int = 64
    learning_rate: float = 1e-3

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels at each resolution, the full one first: 24, 48, 96 in the paper."""
        return tuple(self.width * 2**level // 2 for level in range(self.downsamplings + 1))

    @property
    def variant(self) -> str:
        """As it stands in a label; nothing for the paper's own network."""
        return "" if self.name == PAPER else self.name

    def at(self, shape: tuple[int, int, int]) -> Preset | None:
        """This preset for images `(c, h, w)`, or None where it is not made for them.

        The paper's network is made for all square images of at least 128 pixels a side that is a multiple of
        8; its patches are an eighth of that side.
        """
        _, height, width = shape
        if self.name == PAPER and height == width >= LEAST and not width % STEP:
            return replace(self, side=width, patch=width // 8)
        return self if (height, width) == (self.side, self.side) else None


def _small(name: str, *, side: int, steps: int) -> Preset:
    """A third of the width and one encoder: for a CPU."""
    return Preset(
        name=name,
        side=side,
        width=16,
        downsamplings=2,
        dilations=(1, 2, 4),
        branches=1,
        critic=(16, 32, 64, 64),
        patch=4,
        steps=steps,
        pretraining=steps // 4,
    )


def _wide(name: str, *, side: int, dilations: tuple[int, ...], steps: int) -> Preset:
    """The paper's widths and both encoders, without contextual attention."""
    return Preset(
        name=name,
        side=side,
        width=48,
        downsamplings=2,
        dilations=dilations,
        branches=2,
        critic=(64, 128, 256, 256),
        patch=4 if side < 64 else side // 8,
        steps=steps,
        pretraining=steps // 4,
    )


def _mostly_black(preset: Preset) -> Preset:
    """As MNIST's images want it: most pixels are black, which is where tanh ends and has no slope.

    Under plain L1 black pixels pull with full force however near they are, until the few others can no longer
    be heard: hence the tolerance. And what begins at mid-grey comes to black at a run, on which every layer
    learns to be dark whatever it sees: hence the ground.
    """
    return replace(preset, tolerance=0.2, ground=-1.0, ce_weight=0.5, gan="code")


PRESETS: Mapping[str, Preset] = {
    preset.name: preset
    for preset in (
        Preset(
            name="digits",
            side=8,
            width=32,
            downsamplings=1,
            dilations=(1, 2),
            branches=1,
            critic=(32, 64, 64),
            patch=1,
            sigma=0.1,
            ce_weight=0.5,
            restarts=False,
        ),
        _mostly_black(_wide("28px", side=28, dilations=(1, 2, 4), steps=8000)),
        _wide("32px", side=32, dilations=(1, 2, 4), steps=24000),
        _wide("64px", side=64, dilations=(1, 2, 4, 8), steps=24000),
        Preset(
            name=PAPER,
            side=256,
            width=48,
            downsamplings=2,
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
        _mostly_black(_small("28px-small", side=28, steps=4000)),
        _small("32px-small", side=32, steps=6000),
    )
}
"""`auto` takes the first that is made for a shape."""


def preset_for(name: str, shape: tuple[int, int, int]) -> Preset:
    """The preset of a name, or with `auto` the one made for images `(c, h, w)` of a shape.

    Raises:
        BenchError: Nothing has that name, or no preset is made for that shape.
    """
    if name != AUTO and name not in PRESETS:
        raise unknown("preset of atop", name, (AUTO, *PRESETS))
    fits = [found for p in PRESETS.values() if name in (AUTO, p.name) and (found := p.at(shape))]
    if not fits:
        made_for = ", ".join(f"{p.name} ({_sizes(p)})" for p in PRESETS.values())
        raise BenchError(
            f"atop's preset {name!r} is not made for images of {shape[1]}x{shape[2]} pixels; there is "
            f"{made_for}"
        )
    return fits[0]


def _sizes(preset: Preset) -> str:
    if preset.name == PAPER:
        return f"square, {LEAST} pixels or more, a multiple of {STEP}"
    return f"{preset.side}x{preset.side}"
