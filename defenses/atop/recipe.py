"""How AToP is trained: inpainting clean images first, then adversarial ones through the frozen classifier."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional
from torch.optim import Adam, Optimizer

from benchmark.engine.randomness import Draws
from benchmark.engine.victims.setting import Setting
from benchmark.errors import BenchError
from benchmark.recipe import TrainingAttack
from defenses.atop.augmentation import Augmentation
from defenses.atop.network import Discriminator, Generator
from defenses.atop.pipeline import refuse_choice
from defenses.atop.presets import AUTO, Preset, preset_for
from defenses.atop.resolution import resized, shape_at
from defenses.atop.transforms import Views, transform_for
from defenses.atop.two_phases import TwoPhases

GAN_VARIANTS = ("paper", "code")
TARGETS = ("adversarial", "clean")


@dataclass(kw_only=True, eq=False, repr=False)
class AToPRecipe(TwoPhases):
    """Pre-training on clean images, then fine-tuning on FGSM images (Lin et al., ICLR 2024, Eq. 9).

    Both phases minimise `L1(x1, x') + L1(x2, x') + G(x2)`, with G the generator's part of a hinge GAN; the
    second adds `ce_weight * CE(F(x2), y)`. In the first x' is the clean image, in the second FGSM's on the bare
    classifier. The L1 distances are those of images scaled to [-1, 1], as the networks see them.

    Where paper and released code differ, the default is the paper's, but for MNIST's sizes: the code cuts the
    generator off from the GAN loss (`gan="code"`) and brings the cross-entropy in later (`ce_from`). There the
    L1 terms are also quadratic near 0 (`tolerance`).

    Args:
        transform: `rt1`, `rt2` or `rt3`; `pixels` is Trust-no-pixel's.
        sigma: Standard deviation of the noise; None is the preset's.
        patch: Side of a masked patch in pixels; None is the preset's.
        ratio: Share of the patches that are masked; None is the preset's.
        copies: Masks of `rt3` and `pixels`, of which pre-training shows one an image, fine-tuning all.
        preset: Size of the networks; `auto` takes the one that is made for the images' shape.
        tuned: Whether there is a fine-tuning; without, all steps are pre-training ("without AToP").
        upscale: Height and width at which images are purified; None is their own. They are attacked, and
            classified, at their own.
        steps: Optimiser steps in all; None is the preset's.
        pretraining: How many of them come before fine-tuning; None is the preset's share.
        batch_size: Images in a step; None is the preset's.
        learning_rate: Of Adam with betas .5 and .999, for both networks; it falls to 0 in a straight line over
            the last half of the steps. None is the preset's.
        ce_weight: Lambda of Eq. 9; None is the preset's.
        ce_from: How many steps of fine-tuning go by before the cross-entropy comes in.
        gan: `paper`, or `code` for a generator without the GAN's gradient; None is the preset's.
        tolerance: Differences of pixels, in [-1, 1], below which L1 is quadratic; None is the preset's.
        target: What fine-tuning restores: `adversarial`, the very x' that it is shown (Eq. 9), or `clean`.
        shift: By how many pixels at the most images are moved, each way, over black; None is the dataset's, or
            the preset's.
        flip: Whether images are mirrored at random; None is the dataset's.
        attack: What makes x' in fine-tuning: an attack's name, with arguments or without, as `pgd(steps=10)`.
        through: What is attacked: the bare `classifier`, as in the paper, or the whole `pipeline` as it stands.
        eot: Draws over which the pipeline's logits are averaged for the attack.
    """

    transform: str = "rt2"
    sigma: float | None = None
    patch: int | None = None
    ratio: float | None = None
    copies: int = 4
    preset: str = AUTO
    tuned: bool = True
    upscale: int | None = None
    steps: int | None = None
    pretraining: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    ce_weight: float | None = None
    ce_from: int = 0
    gan: str | None = None
    tolerance: float | None = None
    target: str = "adversarial"
    shift: int | None = None
    flip: bool | None = None
    attack: str = "fgsm"
    through: str = "classifier"
    eot: int = 1

    def preset_of(self, setting: Setting) -> Preset:
        """AToP's preset for images of that shape."""
        return preset_for(self.preset, shape_at(setting.shape, self.upscale))

    def build(self, setting: Setting, attacks: Mapping[str, TrainingAttack]) -> None:
        """Makes generator, discriminator and their optimisers.

        Raises:
            BenchError: An argument is out of range, no preset fits, or there is no classifier.
        """
        preset = self.preset_of(setting)
        self._choose(preset)
        self.plan(setting, attacks)
        self._transform = transform_for(
            preset,
            transform=self.transform,
            sigma=self.sigma,
            patch=self.patch,
            ratio=self.ratio,
            copies=self.copies,
        )
        self._augment = Augmentation.of(
            setting, shift=self.shift, flip=self.flip, otherwise=preset.shift
        )
        device, dtype = setting.device, setting.dtype
        self._generator = Generator(setting.shape[0], preset).to(device, dtype)
        self._critic = Discriminator(setting.shape[0], preset.critic).to(device, dtype)
        rate, betas = self._rate, (0.5, 0.999)
        self._generator_adam = Adam(self._generator.parameters(), lr=rate, betas=betas)
        self._critic_adam = Adam(self._critic.parameters(), lr=rate, betas=betas)

    def modules(self) -> dict[str, torch.nn.Module]:
        """Generator and discriminator."""
        return {"generator": self._generator, "critic": self._critic}

    def optimizers(self) -> dict[str, Optimizer]:
        """One Adam for each."""
        return {"generator": self._generator_adam, "critic": self._critic_adam}

    def step(self, x: Tensor, y: Tensor, *, step: int, draws: Draws) -> dict[str, float]:
        """One update of the discriminator, then one of the generator."""
        self._schedule(step)
        x = self._augment(x, draws=draws)
        is_tuning = step >= self._pretraining
        if step == self._pretraining and self._restarts:
            self._forget()
        shown = self._craft(self._purify, x, y, draws.at("fgsm")) if is_tuning else x
        wanted = resized(x if self.target == "clean" else shown, self._shape)
        views = self._transform.views(
            resized(shown, self._shape), draws=draws.at("transform"), is_one=not is_tuning
        )
        wanted = wanted.repeat(views.count, 1, 1, 1)
        x1, x2 = self._generator(views.images, views.keep)
        losses = {"critic": self._train_critic(wanted, x2.detach(), views)}
        parts = {
            "l1_coarse": l1(x1, wanted, tolerance=self._tolerance),
            "l1_fine": l1(x2, wanted, tolerance=self._tolerance),
            "gan": self._generator_hinge(x2, views),
        }
        total = torch.stack(list(parts.values())).sum()
        if step >= self._pretraining + self.ce_from:
            x_hat = resized(views.compose(x2), x.shape)
            parts["ce"] = functional.cross_entropy(self._classifier(x_hat), y)
            total = total + self._ce_weight * parts["ce"]
        self._generator_adam.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        self._generator_adam.step()
        losses.update({name: float(part.detach()) for name, part in parts.items()})
        return losses

    def product(self) -> dict[str, Tensor]:
        """The generator's weights; the discriminator has done its work."""
        return dict(self._generator.state_dict())

    def _train_critic(self, real: Tensor, fake: Tensor, views: Views) -> float:
        hole = 1 - views.keep
        self._critic.train()
        loss = critic_hinge(self._critic(real, hole), self._critic(fake, hole))
        self._critic_adam.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self._critic_adam.step()
        return float(loss.detach())

    def _generator_hinge(self, x2: Tensor, views: Views) -> Tensor:
        """In eval mode, so that only the discriminator's own updates move its spectral norms."""
        self._critic.eval()
        seen = x2.detach() if self._gan == "code" else x2
        return generator_hinge(self._critic(seen, 1 - views.keep))

    def _purify(self, x: Tensor, draws: Draws) -> Tensor:
        """What the generator makes of images as it stands."""
        views = self._transform.views(resized(x, self._shape), draws=draws)
        return resized(views.compose(self._generator(views.images, views.keep)[1]), x.shape)

    def _forget(self) -> None:
        """Sets both Adams' moments back to 0."""
        for optimizer in self.optimizers().values():
            optimizer.state.clear()

    def _schedule(self, step: int) -> None:
        share = min(1.0, 2 * (self._steps - step) / self._steps)
        for optimizer in self.optimizers().values():
            for group in optimizer.param_groups:
                group["lr"] = share * self._rate

    def _choose(self, preset: Preset) -> None:
        """Resolves what AToP alone leaves to the preset.

        Raises:
            BenchError: An argument is out of range.
        """
        self._gan = preset.gan if self.gan is None else self.gan
        refuse_choice("gan", self._gan, GAN_VARIANTS)
        refuse_choice("target", self.target, TARGETS)
        self._restarts = preset.restarts
        self._tolerance = preset.tolerance if self.tolerance is None else self.tolerance
        if not self._tolerance >= 0:
            raise BenchError(f"atop's tolerance is 0 or more; got {self._tolerance}")


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
