"""Sizes of HGD's denoisers: the paper's, which takes any image, and smaller ones for small images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from benchmark.errors import BenchError
from benchmark.registry import unknown
from defenses.presets import AUTO, PAPER

Choice = TypeVar("Choice", bound=StrEnum)


class Architecture(StrEnum):
    """Which denoiser (Liao et al., CVPR 2018, section 3.2)."""

    DUNET = "dunet"
    """With lateral connections."""
    DAE = "dae"
    """Without: all that is left of the image goes through the lowest resolution."""


class Guide(StrEnum):
    """What the loss compares (Liao et al., CVPR 2018, section 3.3), under the paper's names."""

    LGD = "lgd"
    """Logits."""
    FGD = "fgd"
    """The last map before pooling."""
    PGD = "pgd"
    """Pixels; not the attack of that name."""
    CGD = "cgd"
    """Nothing: cross-entropy with the true label."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """What is scaled with the task.

    Args:
        name: As it stands in a label, `hgd[digits]`; empty for the paper's own.
        side: Height and width of the images that it is made for, in pixels; None for any.
        widths: Channels of the denoiser at each resolution, the full one first.
        epochs: How often training shows each image under each attack.
    """

    name: str
    side: int | None
    widths: tuple[int, ...]
    epochs: int


PRESETS: Mapping[str, Preset] = {
    "digits": Preset(name="digits", side=8, widths=(24, 48, 96), epochs=20),
    "28px-small": Preset(name="28px-small", side=28, widths=(32, 64, 128, 128, 128), epochs=20),
    "32px-small": Preset(name="32px-small", side=32, widths=(32, 64, 128, 128, 128), epochs=20),
    PAPER: Preset(name="", side=None, widths=(64, 128, 256, 256, 256), epochs=20),
}


def preset_for(name: str, shape: tuple[int, int, int]) -> Preset:
    """The preset of a name, or with `auto` the one made for images `(c, h, w)` of a shape.

    Raises:
        BenchError: Nothing has that name, or the preset is made for images of another shape.
    """
    if name != AUTO and name not in PRESETS:
        raise unknown("preset of hgd", name, (AUTO, *PRESETS))
    named = PRESETS.values() if name == AUTO else (PRESETS[name],)
    fits = [p for p in named if p.side is None or shape[1:] == (p.side, p.side)]
    if not fits:
        side = PRESETS[name].side
        raise BenchError(
            f"hgd's preset {name!r} is made for images of {side}x{side} pixels, not of "
            f"{shape[1]}x{shape[2]}; leave preset out, or take {PAPER}, which is for any"
        )
    return fits[0]


def choice_of(kind: type[Choice], what: str, name: str) -> Choice:
    """The denoiser or the loss of a name.

    Raises:
        BenchError: None has it.
    """
    if name not in tuple(kind):
        raise unknown(f"{what} of hgd", name, [each.value for each in kind])
    return kind(name)
