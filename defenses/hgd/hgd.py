"""HGD: a network that predicts the negative noise of an image, trained for what a classifier makes of it."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from benchmark.engine.randomness import Draws
from benchmark.engine.victims.defense import Defense, Derivative
from benchmark.engine.victims.network_weights import with_weights
from benchmark.engine.victims.setting import Setting
from benchmark.registry import unknown
from defenses.hgd.guidance import distance, guidance_of
from defenses.hgd.network import Denoiser, denoised, noise_of
from defenses.hgd.presets import Architecture, Guide, choice_of, preset_for
from defenses.presets import AUTO, joined

AUXILIARIES = ("noise", "features")


@dataclass(kw_only=True, eq=False, repr=False)
class HGD(Defense):
    """`x_hat = x + U(x)`, clamped; one pass of a denoiser U, nothing random.

    Liao, Liang, Dong, Pang, Hu and Zhu, "Defense against adversarial attacks using high-level representation
    guided denoiser", CVPR 2018. It is differentiable from end to end, and plain PGD through the whole of it
    brings it to 0 % (Athalye and Carlini, arXiv 1804.03286). The paper does not clamp; here the output is
    clamped when it leaves the purifier, and the surrogate is the same without the clamp, which passes gradients
    where a pixel is black or white.

    Args:
        loss: What the denoiser was trained for: `lgd`, `fgd`, `pgd` or `cgd`; it names the weights.
        network: `dunet`, or `dae` for one without lateral connections.
        preset: Size of the denoiser; `auto` takes the one that is made for the images' shape.
        auxiliary: The auxiliary loss: `noise`, `mean |U(x)|`, or `features`, `mean |f_l(x_hat) - f_l(x)|` at
            the place l that `loss` compares (logits for `cgd`).
    """

    name = "hgd"
    stochastic = False
    gradient = Derivative.ALMOST_EVERYWHERE
    needs_weights = True
    recipe = "defenses.hgd.recipe:HGDRecipe"

    loss: str = Guide.LGD.value
    network: str = Architecture.DUNET.value
    preset: str = AUTO
    auxiliary: str = "noise"

    def variant(self, shape: tuple[int, int, int]) -> str:
        """Preset, `dae` and loss, as far as they are not the paper's widths, a DUNET and LGD: `digits-fgd`."""
        architecture = choice_of(Architecture, "network", self.network)
        guide = choice_of(Guide, "loss", self.loss)
        return joined(
            preset_for(self.preset, shape).name,
            architecture.value if architecture is not Architecture.DUNET else "",
            guide.value if guide is not Guide.LGD else "",
        )

    def prepare(self, setting: Setting) -> None:
        """Builds the denoiser and loads its weights."""
        if self.auxiliary not in AUXILIARIES:
            raise unknown("auxiliary of hgd", self.auxiliary, AUXILIARIES)
        architecture = choice_of(Architecture, "network", self.network)
        preset = preset_for(self.preset, setting.shape)
        self._guidance = guidance_of(choice_of(Guide, "loss", self.loss), setting)
        denoiser = Denoiser(
            setting.shape[0], preset.widths, has_laterals=architecture is Architecture.DUNET
        )
        self._denoiser = with_weights(denoiser, setting, self)

    def purify(self, x: Tensor, *, draws: Draws) -> Tensor:
        """Denoised images `(b, c, h, w)`, clamped to [0, 1]; nothing is drawn."""
        return self.surrogate(x, draws=draws).clamp(0.0, 1.0)

    def surrogate(self, x: Tensor, *, draws: Draws) -> Tensor:
        """`x + U(x)` without the clamp, which would hide the gradient of black and white pixels."""
        del draws
        return denoised(x, noise_of(self._denoiser, x))

    def auxiliary_loss(self, x: Tensor, *, draws: Draws) -> Tensor:
        """`mean |U(x)|` of each image, `(b,)`, where pixels live in [-1, 1]; or of the features' change."""
        del draws
        noise = noise_of(self._denoiser, x)
        if self.auxiliary == "noise":
            return noise.abs().flatten(1).mean(1)
        see = self._guidance.representation
        return distance(see(denoised(x, noise)), see(x))
