"""Sizes of AdvAE's networks and its training attacks, one for each resolution at which the project runs it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from benchmark.registry import unknown
from defenses.presets import Sized, chosen

Residual = Literal["none", "raw", "logit"]
RESIDUALS: tuple[Residual, ...] = ("none", "raw", "logit")


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset(Sized):
    """What hangs on the resolution.

    Args:
        widths: Channels at each resolution, the full one first.
        is_unet: Whether the network is the U-Net (with skip connections) or the plain auto-encoder.
        residual: How the output is made from what the network says: see `Purifier`.
        is_paper: Whether this is a network of the paper, so that the label carries no preset.
        reconstruction: Lambda of Eq. 7.
        attack: The training attack, as the attack registry reads it.
        epochs: At the most.
        batch_size: Images in a step.
        learning_rate: Adam's, in the beginning.
        warmup: Epochs over which the training budget rises to the threat's.
    """

    widths: tuple[int, ...]
    is_unet: bool = True
    residual: Residual = "raw"
    is_paper: bool = False
    reconstruction: float = 1.0
    attack: str = "pgd(steps=10, step_size=0.25, keep='last')"
    epochs: int = 100
    batch_size: int = 32
    learning_rate: float = 1e-3
    warmup: int = 0


_MNIST = "pgd(steps=40, step_size=0.01, step_unit='pixel', keep='last')"
_CIFAR = "pgd(steps=10, step_size=0.00784313725490196, step_unit='pixel', keep='last')"  # 2/255
_UNET = (32, 64, 128, 256, 512)

PRESETS: Mapping[str, Preset] = {
    preset.name: preset
    for preset in (
        Preset(
            name="digits",
            side=8,
            widths=(64, 64),
            is_unet=False,
            residual="none",
            reconstruction=0.0,
            epochs=50,
            batch_size=64,
            learning_rate=2e-3,
        ),
        Preset(
            name="28px",
            side=28,
            widths=(32, 32),
            is_unet=False,
            residual="none",
            is_paper=True,
            reconstruction=0.0,
            attack=_MNIST,
        ),
        Preset(name="32px", side=32, widths=_UNET, is_paper=True, attack=_CIFAR),
        Preset(name="64px", side=64, widths=_UNET),
        Preset(name="224px", side=224, widths=(*_UNET, 1024)),
        Preset(name="256px", side=256, widths=(*_UNET, 1024)),
    )
}


def preset_for(name: str, shape: tuple[int, int, int]) -> Preset:
    """The preset of a name, or with `auto` the one made for images `(c, h, w)` of a shape; see `chosen`."""
    return chosen("advae", PRESETS.values(), name, shape)


def residual_for(name: str | None, preset: Preset) -> Residual:
    """The residual of a name, or the preset's where none is given.

    Raises:
        BenchError: Nothing has that name.
    """
    if name is None:
        return preset.residual
    found = next((residual for residual in RESIDUALS if residual == name), None)
    if found is None:
        raise unknown("residual of advae", name, RESIDUALS)
    return found
