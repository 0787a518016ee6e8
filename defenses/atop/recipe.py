"""How AToP is trained: inpainting clean images first, then adversarial ones through the frozen classifier."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional
from torch.optim import Adam, Optimizer

from benchmark.classifier import Classifier
from benchmark.errors import BenchError
from benchmark.randomness import Draws
from benchmark.recipe import Recipe, TrainingAttack
from benchmark.setting import Setting
from defenses.atop.network import Discriminator, Generator
from defenses.atop.presets import AUTO, preset_for
from defenses.atop.transforms import Views, transform_for

GAN_VARIANTS = ("paper", "code")
TARGETS = ("adversarial", "clean")


class AToPRecipe(Recipe):
    """Pre-training on clean images, then fine-tuning on FGSM images (Lin et al., ICLR 2024, Eq. 9).

    Both phases minimise `L1(x1, x') + L1(x2, x') + G(x2)`, with G the generator's part of a hinge GAN; the
    second adds `ce_weight * CE(F(x2), y)`. In the first x' is the clean image, in the second FGSM's on the bare
    classifier. The L1 distances are those of images scaled to [-1, 1], as the networks see them.

    Where paper and released code differ, the default is the paper's: the code cuts the generator off from the
    GAN loss (`gan="code"`) and brings the cross-entropy in later (`ce_from`).

    Args:
        transform: `rt1`, `rt2` or `rt3`.
        sigma: Standard deviation of the noise; None is the preset's.
        patch: Side of a masked patch in pixels; None is the preset's.
        ratio: Share of the patches that are masked; None is the preset's.
        copies: Masks of `rt3`.
        preset: Size of the networks; `auto` takes the one that is made for the images' shape.
        steps: Optimiser steps in all.
        pretraining: How many of them come before fine-tuning.
        batch_size: Images in a step.
        learning_rate: Of Adam with betas .5 and .999, for both networks; it falls to 0 in a straight line over
            the last half of the steps.
        ce_weight: Lambda of Eq. 9; None is the preset's.
        ce_from: How many steps of fine-tuning go by before the cross-entropy comes in.
        gan: `paper`, or `code` for a generator without the GAN's gradient.
        target: What fine-tuning restores: `adversarial`, the very x' that it is shown (Eq. 9), or `clean`.
        shift: By how many pixels at the most images are moved, each way, over black; None is the preset's.
    """

    attacks: ClassVar[tuple[str, ...]] = ("fgsm",)
    steps: int
    batch_size: int

    def __init__(
        self,
        *,
        transform: str = "rt2",
        sigma: float | None = None,
        patch: int | None = None,
        ratio: float | None = None,
        copies: int = 4,
        preset: str = AUTO,
        steps: int = 4000,
        pretraining: int = 500,
        batch_size: int = 64,
        learning_rate: float = 1e-3,
        ce_weight: float | None = None,
        ce_from: int = 0,
        gan: str = "paper",
        target: str = "adversarial",
        shift: int | None = None,
    ) -> None:
        self.transform = transform
        self.sigma = sigma
        self.patch = patch
        self.ratio = ratio
        self.copies = copies
        self.preset = preset
        self.steps = steps
        self.pretraining = pretraining
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.ce_weight = ce_weight
        self.ce_from = ce_from
        self.gan = gan
        self.target = target
        self.shift = shift

    def build(self, setting: Setting, attacks: Mapping[str, TrainingAttack]) -> None:
        """Makes generator, discriminator and their optimisers.

        Raises:
            BenchError: An argument is out of range, no preset fits, or there is no classifier.
        """
        self._refuse_arguments()
        preset = preset_for(self.preset, setting.shape)
        self._transform = transform_for(
            preset,
            transform=self.transform,
            sigma=self.sigma,
            patch=self.patch,
            ratio=self.ratio,
            copies=self.copies,
        )
        self._ce_weight = preset.ce_weight if self.ce_weight is None else self.ce_weight
        self._shift = preset.shift if self.shift is None else self.shift
        self._classifier: Classifier = setting.defended()
        self._fgsm = attacks["fgsm"]
        device, dtype = setting.device, setting.dtype
        self._generator = Generator(setting.shape[0], preset).to(device, dtype)
        self._critic = Discriminator(setting.shape[0], preset.critic).to(device, dtype)
        betas = (0.5, 0.999)
        self._generator_adam = Adam(
            self._generator.parameters(), lr=self.learning_rate, betas=betas
        )
        self._critic_adam = Adam(self._critic.parameters(), lr=self.learning_rate, betas=betas)

    def modules(self) -> dict[str, torch.nn.Module]:
        """Generator and discriminator."""
        return {"generator": self._generator, "critic": self._critic}

    def optimizers(self) -> dict[str, Optimizer]:
        """One Adam for each."""
        return {"generator": self._generator_adam, "critic": self._critic_adam}

    def step(self, x: Tensor, y: Tensor, *, step: int, draws: Draws) -> dict[str, float]:
        """One update of the discriminator, then one of the generator."""
        self._schedule(step)
        x = shifted(x, self._shift, draws=draws.at("shift"))
        is_tuning = step >= self.pretraining
        shown = self._fgsm(self._classifier, x, y, draws.at("fgsm")) if is_tuning else x
        wanted = x if self.target == "clean" else shown
        views = self._transform.views(shown, draws=draws.at("transform"))
        wanted = wanted.repeat(views.count, 1, 1, 1)
        x1, x2 = self._generator(views.images, views.keep)
        losses = {"critic": self._train_critic(wanted, x2.detach(), views)}
        parts = {
            "l1_coarse": 2 * functional.l1_loss(x1, wanted),
            "l1_fine": 2 * functional.l1_loss(x2, wanted),
            "gan": self._generator_hinge(x2, views),
        }
        total = torch.stack(list(parts.values())).sum()
        if step >= self.pretraining + self.ce_from:
            parts["ce"] = functional.cross_entropy(self._classifier(views.compose(x2)), y)
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
        seen = x2.detach() if self.gan == "code" else x2
        return generator_hinge(self._critic(seen, 1 - views.keep))

    def _schedule(self, step: int) -> None:
        share = min(1.0, 2 * (self.steps - step) / self.steps)
        for optimizer in self.optimizers().values():
            for group in optimizer.param_groups:
                group["lr"] = share * self.learning_rate

    def _refuse_arguments(self) -> None:
        if self.gan not in GAN_VARIANTS:
            raise BenchError(f"atop's gan is one of {', '.join(GAN_VARIANTS)}; got {self.gan!r}")
        if self.target not in TARGETS:
            raise BenchError(f"atop's target is one of {', '.join(TARGETS)}; got {self.target!r}")
        if not 0 <= self.pretraining <= self.steps:
            raise BenchError(
                f"atop's pretraining is a part of its {self.steps} steps; got {self.pretraining}"
            )


def shifted(x: Tensor, reach: int, *, draws: Draws) -> Tensor:
    """Images `(b, c, h, w)`, each moved by up to `reach` pixels along both axes; black comes in."""
    if not reach:
        return x
    h, w = x.shape[2:]
    wide = functional.pad(x, (reach,) * 4)
    corners = draws.integers(2 * reach + 1, (2,)).tolist()
    return torch.stack(
        [image[:, i : i + h, j : j + w] for image, (i, j) in zip(wide, corners, strict=True)]
    )


def critic_hinge(real: Tensor, fake: Tensor) -> Tensor:
    """The discriminator's hinge loss over scores `(b, s)` of real and of generated images."""
    return (1 - real).relu().mean() + (1 + fake).relu().mean()


def generator_hinge(fake: Tensor) -> Tensor:
    """The generator's: the mean score `(b, s)` of what it made, with the sign turned."""
    return -fake.mean()
