"""How ADD-Defense is trained: two discriminators against an auto-encoder, on attacks made beforehand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from benchmark.engine.randomness import Draws
from benchmark.engine.threat import Norm, Threat
from benchmark.engine.victims.setting import Setting
from benchmark.errors import BenchError
from benchmark.recipe import Crafting, Length, Recipe, TrainingAttack, descend
from defenses.add import losses
from defenses.add.network import (
    ClassHead,
    DomainDiscriminator,
    Encoder,
    Generator,
    ImageDiscriminator,
    to_network,
)
from defenses.add.presets import (
    PENALTY,
    Preset,
    Weights,
    known_eps,
    preset_for,
    refuse_choices,
    weights_for,
)
from defenses.presets import AUTO, PAPER, with_arguments

PGD = "pgd(steps=40, step_size=0.01, step_unit='pixel', keep='last')"
PGD_TARGETED = "pgd(steps=40, step_size=0.01, step_unit='pixel', keep='last', target_class=3)"
STADV = "stadv(bound=0.1) in linf:1"
STADV_TARGETED = "stadv(bound=0.1, target_class=3) in linf:1"
_FALLS = {"autoencoder": 0.1, "domain": 0.5, "image": 0.5}


@dataclass(kw_only=True, eq=False, repr=False)
class ADDRecipe(Recipe):
    """Two discriminators against an auto-encoder with a class head (Zhou et al. 2021, Eqs. 2 to 7).

    In every step D_P and D_I are updated, and then encoder, generator and class head minimise

    `L_mmd + l1 L_g + l2 L_p + l3 L_c + L_adv + theta L_mse`

    on the clean images of a batch and on what each known attack made of them beforehand from the bare
    classifier. The `arn` choices are those of the authors' later ARN (ICML 2021): each logit of D_P is a yes or
    no of its own, D_I has a gradient penalty, and the losses have ARN's weights.

    Args:
        preset: Size of the networks; `auto` takes the one that is made for the images' shape.
        choices: `paper` or `arn`.
        norm: Whether encoder and generator have batch norm.
        known: The attacks that it is trained on, each as `pgd(steps=40)` or `pgd(steps=40) in linf:0.3`; one
            without a budget of its own has the dataset's. None: PGD, untargeted and to class 3, 40 x .01.
        mmd: Weight of L_mmd; None, for this and the next five, is the choices' on the dataset.
        prior: Of L_g; lambda 1.
        domain: Of L_p; lambda 2.
        label: Of L_c; lambda 3.
        adversarial: Of L_adv.
        mse: Of L_mse; theta.
        bandwidths: Of L_mmd's kernels.
        images: The first so many training images alone; None for all of them.
        steps: Steps in all; None is the preset's.
        batch_size: Clean images in a step; None is the preset's.
        learning_rate: Of Adam with betas .5 and .999, for all networks; None is the preset's.
        drops: At which shares of the steps the auto-encoder's falls to a tenth, the discriminators' to a half.
    """

    usual: ClassVar[tuple[str, ...]] = (PGD, PGD_TARGETED)
    """What is known where nothing else is named."""
    usual_prior: ClassVar[float | None] = None
    """Lambda 1 where nothing else is named; None for the dataset's."""

    preset: str = AUTO
    choices: str = PAPER
    norm: bool = True
    known: Sequence[str] | None = None
    mmd: float | None = None
    prior: float | None = None
    domain: float | None = None
    label: float | None = None
    adversarial: float | None = None
    mse: float | None = None
    bandwidths: Sequence[float] = (1.0, 5.0, 10.0)
    images: int | None = None
    steps: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    drops: Sequence[float] = (0.25, 0.5)

    def length(self, setting: Setting, images: int) -> Length:
        """The preset's, where it is not told otherwise.

        Raises:
            BenchError: An argument is out of range, or no preset fits.
        """
        self._refuse_arguments()
        preset = self._preset(setting)
        return Length(preset.steps, min(preset.batch_size, images))

    def select(self, labels: Tensor) -> Tensor:
        """The first `images` training images, or all."""
        return torch.arange(len(labels))[: self.images]

    def craftings(self, setting: Setting) -> list[Crafting]:
        """One static set for each known attack, in float32, with true labels, on the defended classifier.

        Raises:
            BenchError: There is no known attack, or a budget is not understood.
        """
        known = self.usual if self.known is None else self.known
        if isinstance(known, str) or not known:
            raise BenchError(
                f"add's known is a list of at least one training attack; got {known!r}: write "
                f'["pgd(steps=40)"]'
            )
        usual = Threat(Norm.LINF, known_eps(setting.dataset, setting.threat.eps))
        if setting.threat.norm is not Norm.LINF:
            usual = setting.threat
        sets = []
        for i, text in enumerate(known):
            attack, between, budget = str(text).rpartition(" in ")
            threat = Threat.parse(budget) if between else usual
            name = f"known-{i + 1}"
            sets.append(
                Crafting(name=name, attack=attack if between else budget, threats=(threat,))
            )
        return sets

    def build(self, setting: Setting, attacks: Mapping[str, TrainingAttack]) -> None:
        """Makes all five networks and the optimisers of auto-encoder and discriminators."""
        del attacks
        self._refuse_arguments()
        preset = self._preset(setting)
        self._is_arn = self.choices == "arn"
        given = {each.name: getattr(self, each.name) for each in fields(Weights)}
        if self.prior is None:
            given["prior"] = self.usual_prior
        self._weights = weights_for(setting.dataset, self.choices, given)
        self._names = [crafting.name for crafting in self.craftings(setting)]
        self._domains = len(self._names) + 1
        self._steps, self._rate = preset.steps, preset.learning_rate
        self._latent = preset.latent
        made = {
            "encoder": Encoder(preset, has_norm=self.norm),
            "generator": Generator(preset, has_norm=self.norm),
            "head": ClassHead(preset, setting.classes),
            "domain": DomainDiscriminator(preset, self._domains),
            "image": ImageDiscriminator(preset),
        }
        self._nets = nn.ModuleDict(made).to(setting.device, setting.dtype)
        trained = nn.ModuleList([self._nets[n] for n in ("encoder", "generator", "head")])
        parts = {
            "autoencoder": trained,
            "domain": self._nets["domain"],
            "image": self._nets["image"],
        }
        self._adams = {
            name: Adam(part.parameters(), lr=self._rate, betas=(0.5, 0.999))
            for name, part in parts.items()
        }

    def modules(self) -> dict[str, nn.Module]:
        """Encoder, generator, class head, D_P and D_I."""
        return dict(self._nets.items())

    def optimizers(self) -> dict[str, Optimizer]:
        """One Adam for what is an auto-encoder together, one for each discriminator."""
        return dict(self._adams)

    def step(self, x: Tensor, y: Tensor, *, step: int, draws: Draws) -> dict[str, float]:
        """One update of D_P, one of D_I, then one of encoder, generator and head."""
        self._schedule(step)
        known = [self._crafted.images(name, draws.images).to(x) for name in self._names]
        mean, log_variance = self._nets["encoder"](to_network(torch.cat([x, *known])))
        noise = draws.at("latent").normal((self._domains, self._latent), dtype=x.dtype)
        z = losses.sampled(mean, log_variance, noise.transpose(0, 1).flatten(0, 1))
        images = self._nets["generator"](z)
        found = {
            "discriminator_domain": self._train_domain(z.detach()),
            "discriminator_image": self._train_image(to_network(x), images.detach(), draws),
        }
        parts = {
            "mmd": losses.mean_discrepancy(z, self._domains, self.bandwidths),
            "prior": losses.prior_divergence(mean, log_variance).mean(),
            "domain": losses.confusion_loss(self._nets["domain"](z), is_bce=self._is_arn),
            "label": nn.functional.cross_entropy(self._nets["head"](z), y.repeat(self._domains)),
            "adversarial": losses.passing_loss(self._nets["image"](images)),
            "mse": losses.restoration_loss(images, to_network(x), self._domains),
        }
        weights = asdict(self._weights)
        total = torch.stack([weights[name] * part.to(x.dtype) for name, part in parts.items()])
        descend(self._adams["autoencoder"], total.sum())
        return found | {name: float(part.detach()) for name, part in parts.items()}

    def product(self) -> dict[str, Tensor]:
        """Encoder and generator, and D_P for the auxiliary loss."""
        return {
            f"{name}.{key}": tensor
            for name in ("encoder", "generator", "domain")
            for key, tensor in self._nets[name].state_dict().items()
        }

    def _train_domain(self, z: Tensor) -> float:
        scores = self._nets["domain"](z)
        loss = losses.domain_loss(scores, self._domains, is_bce=self._is_arn)
        descend(self._adams["domain"], loss)
        return float(loss.detach())

    def _train_image(self, real: Tensor, images: Tensor, draws: Draws) -> float:
        critic = self._nets["image"]
        loss = losses.real_or_fake(critic(real), critic(images))
        if self._is_arn:
            share = draws.at("penalty").uniform((self._domains,), dtype=real.dtype)
            loss = loss + PENALTY * losses.gradient_penalty(
                critic, real.repeat(self._domains, 1, 1, 1), images, share.T.reshape(-1, 1, 1, 1)
            )
        descend(self._adams["image"], loss)
        return float(loss.detach())

    def _preset(self, setting: Setting) -> Preset:
        preset = preset_for(self.preset, setting.shape)
        return with_arguments(preset, self, "steps", "batch_size", "learning_rate")

    def _refuse_arguments(self) -> None:
        refuse_choices(self.choices)
        if not self.bandwidths or not min(self.bandwidths) > 0:
            raise BenchError(f"add's bandwidths are numbers above 0; got {self.bandwidths!r}")
        if not all(isinstance(s, int | float) and 0 < s <= 1 for s in self.drops):
            raise BenchError(
                f"add's drops are shares of the steps, above 0 and up to 1; got {self.drops!r}"
            )
        if self.images is not None and self.images < 1:
            raise BenchError(f"add's images are at least 1; got {self.images!r}")

    def _schedule(self, step: int) -> None:
        passed = sum(step >= share * self._steps for share in self.drops)
        for name, optimizer in self._adams.items():
            for group in optimizer.param_groups:
                group["lr"] = self._rate * _FALLS[name] ** passed


class ADDSRecipe(ADDRecipe):
    """ADD-Defense-S: the known attacks are spatial, StAdv untargeted and to class 3, and lambda 1 is 1e-5.

    Their budget is the flow's bound; `linf:1` allows any image.
    """

    usual = (STADV, STADV_TARGETED)
    usual_prior = 1e-5
