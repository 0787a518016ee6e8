"""AToP on an auto-encoder: a denoising masked auto-encoder paints the image anew, fine-tuned adversarially."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from benchmark.engine.randomness import Draws
from benchmark.errors import BenchError
from defenses.atop.mae_network import MaskedAutoencoder
from defenses.atop.mae_presets import MAEPreset, preset_for
from defenses.atop.restoration import Restoration
from defenses.presets import AUTO, with_arguments


@dataclass(kw_only=True, eq=False, repr=False)
class AToPMAE(Restoration):
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
    recipe = "defenses.atop.mae_recipe:MAERecipe"

    sigma: float | None = None
    ratio: float | None = None
    preset: str = AUTO
    tuned: bool = True
    upscale: int | None = None

    def preset_at(self, shape: tuple[int, int, int]) -> MAEPreset:
        """The auto-encoder's."""
        return preset_for(self.preset, shape)

    def trained_for(self) -> tuple[str, ...]:
        """Whether the weights are pre-trained only."""
        return ("" if self.tuned else "pretrained",)

    def network_at(self, shape: tuple[int, int, int]) -> MaskedAutoencoder:
        """The auto-encoder."""
        preset = with_arguments(self.preset_at(shape), self, "sigma", "ratio")
        self._hiding = Hiding(preset.grid**2, preset.ratio, preset.sigma)
        return MaskedAutoencoder(shape[0], preset)

    def restored(self, x: Tensor, draws: Draws) -> Tensor:
        """What the auto-encoder paints."""
        painted: Tensor = self._network(*self._hiding(x, draws=draws))
        return painted


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

    @property
    def shown(self) -> int:
        """m, how many patches are shown."""
        return max(1, int(self.patches * (1 - self.ratio)))

    def __call__(self, x: Tensor, *, draws: Draws) -> tuple[Tensor, Tensor]:
        """Noisy images `(b, c, h, w)`, not clipped, and the indices `(b, m)` of the patches that are shown."""
        noise = draws.at("noise").normal(tuple(x.shape[1:]), dtype=x.dtype)
        order = draws.at("mask").permutations(self.patches)
        return x + self.sigma * noise, order[:, : self.shown]
