"""Trust-no-pixel: every pixel is hidden once, and inpainted from pixels that others hide."""

from __future__ import annotations

from torch import Tensor

from benchmark.defense import Defense, Derivative
from benchmark.frozen import with_weights
from benchmark.randomness import Draws
from benchmark.setting import Setting
from defenses.atop.network import Generator
from defenses.atop.presets import AUTO, preset_for
from defenses.atop.resolution import resized, shape_at
from defenses.atop.transforms import Kind, transform_for


class TrustNoPixel(Defense):
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
    stochastic = True
    gradient = Derivative.EXACT
    needs_weights = True
    recipe = "defenses.atop.trust_no_pixel_recipe:TrustNoPixelRecipe"
    summary = "inpainting of every pixel from the others (Ughini et al. 2022)"

    def __init__(
        self,
        *,
        copies: int = 12,
        tile: int = 1,
        preset: str = AUTO,
        tuned: bool = False,
        upscale: int | None = None,
    ) -> None:
        self.copies = copies
        self.tile = tile
        self.preset = preset
        self.tuned = tuned
        self.upscale = upscale

    def variant(self, shape: tuple[int, int, int]) -> str:
        """The preset's name, and whether the weights were fine-tuned, which the paper's are not."""
        preset = preset_for(self.preset, shape_at(shape, self.upscale))
        parts = (
            preset.variant,
            "atop" if self.tuned else "",
            "" if self.upscale is None else f"at{self.upscale}px",
        )
        return "-".join(part for part in parts if part)

    def prepare(self, setting: Setting) -> None:
        """Builds the generator and loads its weights.

        Raises:
            BenchError: An argument is out of range, no preset fits, or the weights are missing or those of
                another network.
        """
        self._shape = shape_at(setting.shape, self.upscale)
        preset = preset_for(self.preset, self._shape)
        self._transform = transform_for(
            preset,
            transform=Kind.PIXELS,
            sigma=0.0,
            patch=self.tile,
            ratio=None,
            copies=self.copies,
        )
        self._generator = with_weights(
            Generator(setting.shape[0], preset),
            setting,
            name=self.name,
            label=self.label(setting.shape),
        )

    def purify(self, x: Tensor, *, draws: Draws) -> Tensor:
        """Images `(b, c, h, w)` in [0, 1], every pixel of which was inpainted, at one partition for each."""
        views = self._transform.views(resized(x, self._shape), draws=draws)
        _, x2 = self._generator(views.images, views.keep)
        return resized(views.compose(x2), x.shape)
