"""How Trust-no-pixel's inpainter is trained: AToP's first phase, under Trust-no-pixel's own masks."""

from __future__ import annotations

from dataclasses import dataclass

from defenses.atop.presets import Preset
from defenses.atop.recipe import InpaintingRecipe
from defenses.atop.transforms import Transform, pixelwise


@dataclass(kw_only=True, eq=False, repr=False)
class TrustNoPixelRecipe(InpaintingRecipe):
    """Inpainting of clean images, of each of which one of its N masks is shown in a step.

    The paper takes an inpainter that was trained on Places2. With `tuned`, AToP's fine-tuning follows, through
    all N masks of every image. The other arguments are those of `TwoPhases`.

    Args:
        copies: N, the number of masks.
        tile: Side, in pixels, of the squares that are assigned to masks.
    """

    copies: int = 12
    tile: int = 1
    tuned: bool = False

    def transform_of(self, preset: Preset) -> Transform:
        """Partitions of the image, without noise."""
        return pixelwise(preset, tile=self.tile, copies=self.copies)
