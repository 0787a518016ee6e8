"""Sizes of AToP's networks and transforms, one for each resolution at which the project runs it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from benchmark.errors import BenchError
from benchmark.registry import unknown

AUTO = "auto"


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
        shift: By how many pixels at the most training images are moved, each way.
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
    shift: int = 0

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels at each resolution, the full one first: 24, 48, 96 in the paper."""
        return tuple(self.width * 2**level // 2 for level in range(self.downsamplings + 1))


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
        ),
        Preset(
            name="28px",
            side=28,
            width=48,
            downsamplings=2,
            dilations=(1, 2, 4),
            branches=2,
            critic=(64, 128, 256, 256),
            patch=4,
        ),
        Preset(
            name="32px",
            side=32,
            width=48,
            downsamplings=2,
            dilations=(1, 2, 4),
            branches=2,
            critic=(64, 128, 256, 256),
            patch=4,
        ),
    )
}


def preset_for(name: str, shape: tuple[int, int, int]) -> Preset:
    """The preset of a name, or with `auto` the one made for images `(c, h, w)` of a shape.

    Raises:
        BenchError: Nothing has that name, or no preset is made for that shape.
    """
    if name != AUTO and name not in PRESETS:
        raise unknown("preset of atop", name, (AUTO, *PRESETS))
    fits = [p for p in PRESETS.values() if shape[1:] == (p.side, p.side) and name in (AUTO, p.name)]
    if not fits:
        made_for = ", ".join(f"{p.name} ({p.side}x{p.side})" for p in PRESETS.values())
        raise BenchError(
            f"atop's preset {name!r} is not made for images of {shape[1]}x{shape[2]} pixels; there is "
            f"{made_for}"
        )
    return fits[0]
