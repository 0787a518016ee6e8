"""Trust-no-pixel: every pixel is hidden once, and inpainted from pixels that others hide."""

from __future__ import annotations

from dataclasses import dataclass

from defenses.atop.atop import Inpainting
from defenses.atop.presets import Preset
from defenses.atop.transforms import Transform, pixelwise
from defenses.presets import AUTO


@dataclass(kw_only=True, eq=False, repr=False)
class TrustNoPixel(Inpainting):
    """`x_hat = sum_i (1 - m_i) * g(m_i * x)`: N masks whose holes partition the image, each inpainted.

    Ughini, Samele and Matteucci, "Trust-no-pixel: a remarkably simple defense against adversarial attacks based
    on massive inpainting", IJCNN 2022: each pixel is assigned uniformly at random to one of 12 masks. It is RT3
    of AToP without noise, with holes of single pixels, and with an inpainter that has seen clean images only;
    the network is AToP's.

    Args:
        copies: N, the number of masks.
        tile: Side, in pixels, of the squares that are assigned to masks.
        preset: Size of the networks; `auto` takes the one that is made for the images' shape.
        tuned: Whether the weights were then fine-tuned as AToP's are (Lin et al., ICLR 2024, Table 5).
        upscale: Height and width at which images are purified, before they are brought back; None is their own.
    """

    name = "trust-no-pixel"
    recipe = "defenses.atop.trust_no_pixel_recipe:TrustNoPixelRecipe"

    copies: int = 12
    tile: int = 1
    preset: str = AUTO
    tuned: bool = False
    upscale: int | None = None

    def trained_for(self) -> tuple[str, ...]:
        """Whether the weights were fine-tuned, which the paper's are not."""
        return ("atop" if self.tuned else "",)

    def transform_of(self, preset: Preset) -> Transform:
        """Partitions of the image, without noise."""
        return pixelwise(preset, tile=self.tile, copies=self.copies)
