"""ADD-Defense: an image is encoded to features that do not tell attacks apart, and generated anew from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from benchmark.engine.randomness import Draws
from benchmark.engine.victims.defense import Defense, Derivative
from benchmark.engine.victims.network_weights import weights_of, with_weights
from benchmark.engine.victims.setting import Setting
from benchmark.errors import BenchError
from benchmark.registry import unknown
from defenses.add.losses import prior_divergence
from defenses.add.network import (
    DomainDiscriminator,
    Encoder,
    Generator,
    from_network,
    to_network,
)
from defenses.add.presets import preset_for, refuse_choices
from defenses.presets import AUTO, PAPER, joined

AUXILIARIES = ("reconstruction", "domain")


@dataclass(kw_only=True, eq=False, repr=False)
class ADD(Defense):
    """`x_hat = G(E(x))`, with E the mean of a variational encoder.

    Zhou, Liu, Han, Wang and Gao, "ADD-Defense: towards defending widespread adversarial examples via
    perturbation-invariant representation", 2021. It is trained so that neither a discriminator nor the MMD
    tells the features of known attacks from those of clean images. When an image is purified, nothing is drawn.

    Args:
        preset: Size of the networks; `auto` takes the one that is made for the images' shape.
        choices: `paper`, or `arn` for the successor's; each has weights of its own.
        norm: Whether encoder and generator have batch norm; the weights must have been trained so.
        auxiliary: The auxiliary loss: `reconstruction`, the mean absolute change of a pixel, or `domain`, the
            cross-entropy of D_P with the clean domain and `beta` times the divergence from the prior.
        beta: See above.
    """

    name = "add"
    stochastic = False
    gradient = Derivative.EXACT
    needs_weights = True
    recipe = "defenses.add.recipe:ADDRecipe"

    preset: str = AUTO
    choices: str = PAPER
    norm: bool = True
    auxiliary: str = "reconstruction"
    beta: float = 1e-4

    def variant(self, shape: tuple[int, int, int]) -> str:
        """The preset's name and the successor's; none at the paper's own size with its own choices."""
        choices = "" if self.choices == PAPER else self.choices
        return joined(preset_for(self.preset, shape).variant, choices)

    def prepare(self, setting: Setting) -> None:
        """Builds encoder, generator and D_P and loads their weights."""
        self._refuse_arguments()
        preset = preset_for(self.preset, setting.shape)
        state = weights_of(setting, self)
        networks = nn.ModuleDict(
            {
                "encoder": Encoder(preset, has_norm=self.norm),
                "generator": Generator(preset, has_norm=self.norm),
                "domain": DomainDiscriminator(preset, _domains(state)),
            }
        )
        networks = with_weights(networks, setting, self)
        self._encoder, self._generator = networks["encoder"], networks["generator"]
        self._domain = networks["domain"]

    def purify(self, x: Tensor, *, draws: Draws) -> Tensor:
        """Images `(b, c, h, w)` in [0, 1], generated from the mean of each image's latent."""
        del draws
        mean, _ = self._encoder(to_network(x))
        return from_network(self._generator(mean), x.shape[1])

    def auxiliary_loss(self, x: Tensor, *, draws: Draws) -> Tensor:
        """How much each image is changed, or how little its latent is that of a clean one, `(b,)`."""
        if self.auxiliary == "reconstruction":
            return (self(x, draws=draws) - x).abs().flatten(1).mean(1)
        mean, log_variance = self._encoder(to_network(x))
        clean = torch.zeros(len(x), dtype=torch.int64, device=x.device)
        told = nn.functional.cross_entropy(self._domain(mean), clean, reduction="none")
        return told + self.beta * prior_divergence(mean, log_variance)

    def _refuse_arguments(self) -> None:
        refuse_choices(self.choices)
        if self.auxiliary not in AUXILIARIES:
            raise unknown("auxiliary loss of add", self.auxiliary, AUXILIARIES)
        if not self.beta >= 0:
            raise BenchError(f"add's beta is a number from 0 up; got {self.beta!r}")


class ADDS(ADD):
    """ADD-Defense-S: the same purifier, trained on spatial attacks instead of PGD (its Table 2)."""

    name = "add-s"
    recipe = "defenses.add.recipe:ADDSRecipe"


def _domains(state: Mapping[str, Tensor]) -> int:
    """How many domains the weights' D_P tells apart: as many as its training had."""
    biases = [name for name in state if name.startswith("domain.") and name.endswith(".bias")]
    last = max(biases, key=lambda name: int(name.split(".")[1]), default=None)
    return 1 if last is None else max(1, len(state[last]))
