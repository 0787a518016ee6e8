"""How AToP is trained: inpainting clean images first, then adversarial ones through the frozen classifier."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional
from torch.optim import Adam, Optimizer

from benchmark.engine.randomness import Draws
from benchmark.engine.victims.setting import Setting
from benchmark.errors import BenchError
from benchmark.recipe import TrainingAttack, descend
from defenses.atop.network import Discriminator, Generator
from defenses.atop.presets import Preset, preset_for
from defenses.atop.resolution import resized, shape_at
from defenses.atop.transforms import Transform, Views, transform_for
from defenses.atop.two_phases import TwoPhases, refuse_choice
from defenses.presets import with_arguments

GAN_VARIANTS = ("paper", "code")
TARGETS = ("adversarial", "clean")


class InpaintingRecipe(TwoPhases):
    """A generator and its discriminator, under a transform that hides pixels."""

    ce_from = 0
    target = "adversarial"

    @abstractmethod
    def transform_of(self, preset: Preset) -> Transform:
        """What hides pixels.

        Raises:
            BenchError: An argument is out of range.
        """

    def preset_of(self, setting: Setting) -> Preset:
        """AToP's preset for images of that shape."""
        return preset_for(self.preset, shape_at(setting.shape, self.upscale))

    def build(self, setting: Setting, attacks: Mapping[str, TrainingAttack]) -> None:
        """Makes generator, discriminator and their optimisers."""
        preset = with_arguments(self.preset_of(setting), self, "gan", "tolerance")
        refuse_choice("gan", preset.gan, GAN_VARIANTS)
        refuse_choice("target", self.target, TARGETS)
        if not preset.tolerance >= 0:
            raise BenchError(f"atop's tolerance is 0 or more; got {preset.tolerance}")
        self.plan(setting, attacks)
        self._preset = preset
        self._transform = self.transform_of(preset)
        device, dtype = setting.device, setting.dtype
        self._generator = Generator(setting.shape[0], preset).to(device, dtype)
        self._critic = Discriminator(setting.shape[0], preset.critic).to(device, dtype)
        self._adams = {
            name: Adam(module.parameters(), lr=self._rate, betas=(0.5, 0.999))
            for name, module in self.modules().items()
        }

    def modules(self) -> dict[str, torch.nn.Module]:
        """Generator and discriminator."""
        return {"generator": self._generator, "critic": self._critic}

    def optimizers(self) -> dict[str, Optimizer]:
        """One Adam for each."""
        return dict(self._adams)

    def step(self, x: Tensor, y: Tensor, *, step: int, draws: Draws) -> dict[str, float]:
        """One update of the discriminator, then one of the generator."""
        rate = min(1.0, 2 * (self._steps - step) / self._steps) * self._rate
        x = self.augment(x, draws)
        is_tuning = step >= self._pretraining
        if step == self._pretraining and self._preset.restarts:
            for adam in self._adams.values():
                adam.state.clear()  # its moments are 0 again
        shown = self.attacked(x, y, draws.at("fgsm")) if is_tuning else x
        wanted = resized(x if self.target == "clean" else shown, self._shape)
        views = self._transform.views(
            resized(shown, self._shape), draws=draws.at("transform"), is_one=not is_tuning
        )
        wanted = wanted.repeat(views.count, 1, 1, 1)
        x1, x2 = self._generator(views.images, views.keep)
        losses = {"critic": self._train_critic(wanted, x2.detach(), views, rate)}
        parts = {
            "l1_coarse": l1(x1, wanted, tolerance=self._preset.tolerance),
            "l1_fine": l1(x2, wanted, tolerance=self._preset.tolerance),
            "gan": self._generator_hinge(x2, views),
        }
        total = torch.stack(list(parts.values())).sum()
        if step >= self._pretraining + self.ce_from:
            x_hat = resized(views.compose(x2), x.shape)
            parts["ce"] = functional.cross_entropy(self._classifier(x_hat), y)
            total = total + self._ce_weight * parts["ce"]
        descend(self._adams["generator"], total, rate=rate)
        return losses | {name: float(part.detach()) for name, part in parts.items()}

    def product(self) -> dict[str, Tensor]:
        """The generator's weights; the discriminator has done its work."""
        return dict(self._generator.state_dict())

    def restored(self, x: Tensor, draws: Draws) -> Tensor:
        """What the generator fills in, as it stands."""
        views = self._transform.views(x, draws=draws)
        return views.compose(self._generator(views.images, views.keep)[1])

    def _train_critic(self, real: Tensor, fake: Tensor, views: Views, rate: float) -> float:
        hole = 1 - views.keep
        self._critic.train()
        loss = critic_hinge(self._critic(real, hole), self._critic(fake, hole))
        descend(self._adams["critic"], loss, rate=rate)
        return float(loss.detach())

    def _generator_hinge(self, x2: Tensor, views: Views) -> Tensor:
        """In eval mode, so that only the discriminator's own updates move its spectral norms."""
        self._critic.eval()
        seen = x2.detach() if self._preset.gan == "code" else x2
        return generator_hinge(self._critic(seen, 1 - views.keep))


@dataclass(kw_only=True, eq=False, repr=False)
class AToPRecipe(InpaintingRecipe):
    """Pre-training on clean images, then fine-tuning on FGSM images (Lin et al., ICLR 2024, Eq. 9).

    Both phases minimise `L1(x1, x') + L1(x2, x') + G(x2)`, with G the generator's part of a hinge GAN; the
    second adds `ce_weight * CE(F(x2), y)`. In the first x' is the clean image, in the second FGSM's on the bare
    classifier. The L1 distances are those of images scaled to [-1, 1], as the networks see them.

    Where paper and released code differ, the default is the paper's, but for MNIST's sizes: the code cuts the
    generator off from the GAN loss (`gan="code"`) and brings the cross-entropy in later (`ce_from`). There the
    L1 terms are also quadratic near 0 (`tolerance`). Adam has betas .5 and .999 for both networks; its learning
    rate falls to 0 in a straight line over the last half of the steps.

    The other arguments are those of `TwoPhases`.

    Args:
        transform: `rt1`, `rt2` or `rt3`; `pixels` is Trust-no-pixel's.
        sigma: Standard deviation of the noise; None is the preset's.
        patch: Side of a masked patch in pixels; None is the preset's.
        ratio: Share of the patches that are masked; None is the preset's.
        copies: Masks of `rt3` and `pixels`, of which pre-training shows one an image, fine-tuning all.
        ce_from: How many steps of fine-tuning go by before the cross-entropy comes in.
        gan: `paper`, or `code` for a generator without the GAN's gradient; None is the preset's.
        tolerance: Differences of pixels, in [-1, 1], below which L1 is quadratic; None is the preset's.
        target: What fine-tuning restores: `adversarial`, the very x' that it is shown (Eq. 9), or `clean`.
        through: What is attacked: the bare `classifier`, as in the paper, or the whole `pipeline` as it stands.
        eot: Draws over which the pipeline's logits are averaged for the attack.
    """

    transform: str = "rt2"
    sigma: float | None = None
    patch: int | None = None
    ratio: float | None = None
    copies: int = 4
    ce_from: int = 0
    gan: str | None = None
    tolerance: float | None = None
    target: str = "adversarial"
    through: str = "classifier"
    eot: int = 1

    def transform_of(self, preset: Preset) -> Transform:
        """RT1, RT2, RT3, or Trust-no-pixel's."""
        given = with_arguments(preset, self, "sigma", "patch", "ratio")
        return transform_for(given, self.transform, self.copies)


def l1(made: Tensor, wanted: Tensor, *, tolerance: float) -> Tensor:
    """Mean distance of images in [0, 1] on the scale of [-1, 1]: a scalar.

    Differences below `tolerance` count as their square over twice it, larger ones as what they are less half of
    it; with 0 this is plain L1.
    """
    return 2 * functional.smooth_l1_loss(made, wanted, beta=tolerance / 2)


def critic_hinge(real: Tensor, fake: Tensor) -> Tensor:
    """The discriminator's hinge loss over scores `(b, s)` of real and of generated images."""
    return (1 - real).relu().mean() + (1 + fake).relu().mean()


def generator_hinge(fake: Tensor) -> Tensor:
    """The generator's: the mean score `(b, s)` of what it made, with the sign turned."""
    return -fake.mean()
