"""AToP on an auto-encoder: a denoising masked auto-encoder paints the image anew, fine-tuned adversarially."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from benchmark.engine.randomness import Draws
from benchmark.engine.victims.defense import Defense, Derivative
from benchmark.engine.victims.network_weights import with_weights
from benchmark.engine.victims.setting import Setting
from benchmark.errors import BenchError
from defenses.atop.mae_network import MaskedAutoencoder
from defenses.atop.mae_presets import AUTO, MAEPreset, preset_for
from defenses.atop.resolution import resized, shape_at


@dataclass(kw_only=True, eq=False, repr=False)
class AToPMAE(Defense):
    """`x_hat = rec(t(x))`: t adds noise and hides patches, the auto-encoder paints all of them.

    The AE-based purifier of Lin et al., ICLR 2024, Table 5: the denoising masked auto-encoder of Wu et al.,
    "Denoising masked autoencoders help robust classification" (ICLR 2023), whose decoder is thrown away there
    and gives the image here, then AToP's fine-tuning. From 128 pixels on the network is the paper's, ViT-B/16.
    Noise and masks are drawn for each image.

    Args:
        sigma: Standard deviation of the noise, in units where pixels live in [0, 1]; None is the preset's.
        ratio: Share of the patches that are hidden, 0 for none; None is the preset's.
        preset: Size of the networks; `auto` takes the one that is made for the images' shape.
        tuned: Whether the weights are fine-tuned on adversarial images, or pre-trained only: the plain DMAE.
        upscale: Height and width at which images are purified, before they are brought back (224 in the
            paper's CIFAR experiments); None is their own. The budget stays at their own.
    """

    name = "atop-mae"
    stochastic = True
    gradient = Derivative.EXACT
    needs_weights = True
    recipe = "defenses.atop.mae_recipe:MAERecipe"

    sigma: float | None = None
    ratio: float | None = None
    preset: str = AUTO
    tuned: bool = True
    upscale: int | None = None

    def variant(self, shape: tuple[int, int, int]) -> str:
        """The preset's name, and whether the weights are pre-trained only."""
        preset = preset_for(self.preset, shape_at(shape, self.upscale))
        parts = (
            preset.variant,
            "" if self.tuned else "pretrained",
            "" if self.upscale is None else f"at{self.upscale}px",
        )
        return "-".join(part for part in parts if part)

    def prepare(self, setting: Setting) -> None:
        """Builds the auto-encoder and loads its weights.

        Raises:
            BenchError: An argument is out of range, no preset fits, or the weights are missing or those of
                another network.
        """
        self._shape = shape_at(setting.shape, self.upscale)
        preset = preset_for(self.preset, self._shape)
        self._hiding = Hiding.of(preset, sigma=self.sigma, ratio=self.ratio)
        self._network = with_weights(
            MaskedAutoencoder(setting.shape[0], preset),
            setting,
            name=self.name,
            label=self.label(setting.shape),
        )

    def purify(self, x: Tensor, *, draws: Draws) -> Tensor:
        """Painted images `(b, c, h, w)` in [0, 1], at one draw of noise and mask for each."""
        noisy, shown = self._hiding(resized(x, self._shape), draws=draws)
        return resized(self._network(noisy, shown), x.shape)


@dataclass(frozen=True, slots=True)
class Hiding:
    """What the auto-encoder is not shown, and how noisy the rest is.

    Args:
        patches: n, how many patches an image has.
        ratio: Share of them that is hidden; one is always shown.
        sigma: Standard deviation of the noise, in units where pixels live in [0, 1].
    """

    patches: int
    ratio: float
    sigma: float

    def __post_init__(self) -> None:
        if not 0 <= self.sigma < math.inf:
            raise BenchError(f"atop-mae's sigma is a number from 0 up; got {self.sigma!r}")
        if not 0 <= self.ratio < 1:
            raise BenchError(f"atop-mae's ratio is at least 0 and below 1; got {self.ratio!r}")

    @classmethod
    def of(cls, preset: MAEPreset, *, sigma: float | None, ratio: float | None) -> Hiding:
        """The preset's, where nothing else is wanted."""
        return cls(
            preset.grid**2,
            preset.ratio if ratio is None else ratio,
            preset.sigma if sigma is None else sigma,
        )

    @property
    def shown(self) -> int:
        """m, how many patches are shown."""
        return max(1, int(self.patches * (1 - self.ratio)))

    def __call__(self, x: Tensor, *, draws: Draws) -> tuple[Tensor, Tensor]:
        """Noisy images `(b, c, h, w)`, not clipped, and the indices `(b, m)` of the patches that are shown."""
        noise = draws.at("noise").normal(tuple(x.shape[1:]), dtype=x.dtype)
        order = draws.at("mask").permutations(self.patches)
        return x + self.sigma * noise, order[:, : self.shown]
