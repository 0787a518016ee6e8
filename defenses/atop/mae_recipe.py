"""How the auto-encoder is trained: on clean images first, then on adversarial ones through the classifier."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional
from torch.optim import AdamW

from benchmark.engine.randomness import Draws
from benchmark.engine.victims.setting import Setting
from benchmark.recipe import NetworkRecipe, TrainingAttack, descend, one_cycle
from defenses.atop.mae import Hiding
from defenses.atop.mae_network import PIXELS, MaskedAutoencoder
from defenses.atop.mae_presets import MAEPreset, preset_for
from defenses.atop.resolution import resized, shape_at
from defenses.atop.two_phases import TwoPhases
from defenses.presets import with_arguments

WARM = 0.05
"""The share of the steps over which the learning rate rises."""


@dataclass(kw_only=True, eq=False, repr=False)
class MAERecipe(NetworkRecipe, TwoPhases):
    """Pre-training on clean images, then AToP's fine-tuning on FGSM images (Lin et al., ICLR 2024).

    Both phases minimise `MSE(rec(x' + sigma * n), x')` over all patches, hidden or shown, of images scaled to
    [-1, 1]; the second adds `ce_weight * CE(F(rec(...)), y)`. In the first x' is the clean image, in the
    second FGSM's on the bare classifier. AdamW with betas .9 and .95 and weight decay .05; the learning rate
    rises in a straight line and falls as a cosine, over both phases together (Wu et al., ICLR 2023, appendix).

    The other arguments are those of `TwoPhases`.

    Args:
        sigma: Standard deviation of the noise; None is the preset's.
        ratio: Share of the patches that are hidden; None is the preset's.
        through: What is attacked: the bare `classifier`, as in the paper, or the whole `pipeline` as it stands.
        eot: Draws over which the pipeline's logits are averaged for the attack.
    """

    sigma: float | None = None
    ratio: float | None = None
    through: str = "classifier"
    eot: int = 1

    def preset_of(self, setting: Setting) -> MAEPreset:
        """The auto-encoder's preset for images of that shape."""
        return preset_for(self.preset, shape_at(setting.shape, self.upscale))

    def build(self, setting: Setting, attacks: Mapping[str, TrainingAttack]) -> None:
        """Makes the auto-encoder and its optimiser."""
        preset = with_arguments(self.preset_of(setting), self, "sigma", "ratio")
        self.plan(setting, attacks)
        self._hiding = Hiding(preset.grid**2, preset.ratio, preset.sigma)
        network = MaskedAutoencoder(setting.shape[0], preset)
        self._network = network.to(setting.device, setting.dtype)
        self._optimizer = AdamW(
            self._network.parameters(), lr=self._rate, betas=(0.9, 0.95), weight_decay=0.05
        )

    def step(self, x: Tensor, y: Tensor, *, step: int, draws: Draws) -> dict[str, float]:
        """One update."""
        cycle = one_cycle(step, self._steps, 1.0, rise=round(WARM * self._steps))
        x = self.augment(x, draws)
        is_tuning = step >= self._pretraining
        shown = self.attacked(x, y, draws.at("attack")) if is_tuning else x
        wanted = resized(shown, self._shape)
        painted = self.restored(wanted, draws.at("transform"))
        parts = {"mse": PIXELS**2 * functional.mse_loss(painted, wanted)}
        total = parts["mse"]
        if is_tuning:
            logits = self._classifier(resized(painted, x.shape))
            parts["ce"] = functional.cross_entropy(logits, y)
            total = total + self._ce_weight * parts["ce"]
        descend(self._optimizer, total, rate=self._rate * cycle)
        return {name: float(part.detach()) for name, part in parts.items()}

    def restored(self, x: Tensor, draws: Draws) -> Tensor:
        """What the auto-encoder paints, as it stands."""
        painted: Tensor = self._network(*self._hiding(x, draws=draws))
        return painted
