"""AdvAE: an auto-encoder before the classifier, trained adversarially through both."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from benchmark.engine.randomness import Draws
from benchmark.engine.victims.defense import Defense, Derivative
from benchmark.engine.victims.network_weights import with_weights
from benchmark.engine.victims.setting import Setting
from defenses.advae.losses import auxiliary_for
from defenses.advae.network import Purifier
from defenses.advae.presets import preset_for, residual_for
from defenses.presets import AUTO, joined


@dataclass(kw_only=True, eq=False, repr=False)
class AdvAE(Defense):
    """`x_hat = sigmoid(AE(x))`: one pass, fixed and differentiable, so that its own gradient is the attack's.

    Li, Xiao, Tian and Tian, "Purifying adversarial perturbation with adversarially trained
    auto-encoders", 2019 (arXiv 1905.10729). The networks for 28 and 32 pixels are the paper's own; others carry
    their preset, `advae[digits]`.

    Args:
        preset: Size of the network; `auto` takes the one that is made for the images' shape.
        residual: What the network's output is added to before the sigmoid: `none`, `raw` or `logit`; None is
            the preset's.
        auxiliary: The auxiliary loss: `divergence`, 0 where nothing is changed, or `cross-entropy`, the very
            lambda-term of Eq. 7 taken at the attacked image.
    """

    name = "advae"
    stochastic = False
    gradient = Derivative.EXACT
    needs_weights = True
    recipe = "defenses.advae.recipe:AdvAERecipe"

    preset: str = AUTO
    residual: str | None = None
    auxiliary: str = "divergence"

    def variant(self, shape: tuple[int, int, int]) -> str:
        """The preset's name, unless its network is the paper's, and a residual that is not the preset's."""
        preset = preset_for(self.preset, shape)
        residual = residual_for(self.residual, preset)
        return joined(
            "" if preset.is_paper else preset.name, "" if residual == preset.residual else residual
        )

    def prepare(self, setting: Setting) -> None:
        """Builds the network and loads its weights."""
        preset = preset_for(self.preset, setting.shape)
        residual = residual_for(self.residual, preset)
        self._auxiliary = auxiliary_for(self.auxiliary)
        self._purifier = with_weights(Purifier(setting.shape[0], preset, residual), setting, self)

    def purify(self, x: Tensor, *, draws: Draws) -> Tensor:
        """The auto-encoder's images `(b, c, h, w)` in [0, 1]."""
        del draws
        purified: Tensor = self._purifier(x).sigmoid()
        return purified

    def auxiliary_loss(self, x: Tensor, *, draws: Draws) -> Tensor:
        """How far the purified pixels are from the given ones, `(b,)`, each pixel taken as a probability.

        `divergence` is the mean over pixels of the sigmoid cross-entropy between AE(x) and x, the lambda-term
        of Eq. 7, minus the entropy of x: the Kullback-Leibler divergence of two Bernoulli variables, which is 0
        where the purifier changes nothing and grows with what it changes.
        """
        del draws
        return self._auxiliary(self._purifier(x), x)
