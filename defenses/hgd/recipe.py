"""How HGD is trained: a denoiser on a static set of adversarial images, guided by the frozen classifier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.optim import Adam

from benchmark.engine.randomness import Draws
from benchmark.engine.victims.setting import Setting
from benchmark.errors import BenchError
from benchmark.recipe import (
    MIRRORED,
    Crafting,
    Length,
    NetworkRecipe,
    TrainingAttack,
    descend,
    mirrored,
)
from defenses.hgd.guidance import guidance_of
from defenses.hgd.network import Denoiser, denoised, noise_of
from defenses.hgd.presets import Architecture, Guide, choice_of, preset_for
from defenses.hgd.static import craftings
from defenses.presets import AUTO, with_arguments


@dataclass(kw_only=True, eq=False, repr=False)
class HGDRecipe(NetworkRecipe):
    """A denoiser on adversarial images that were made beforehand (Liao et al., CVPR 2018, sections 3 and 4.1).

    It minimises `mean |f_l(x_hat) - f_l(x)|` for `x_hat = x' + U(x')`, with x' one of the attacks' images of x
    (`defenses.hgd.static`), or for `cgd` the cross-entropy of `f(x_hat)`. The classifier is frozen, its batch
    norm in eval mode; the denoiser's is in train mode. The set does not hang on the loss, so that another
    loss's training finds it made.

    Where paper and released code differ, the default is the paper's; the code's is `learning_rate=0.01
    drops=[0.6,0.9] batch_size=32 epochs=100 eps=code`.

    Args:
        loss: `lgd`, `fgd`, `pgd` or `cgd`.
        network: `dunet` or `dae`.
        preset: Size of the denoiser; `auto` takes the one that is made for the images' shape.
        steps: Optimiser steps in all; None for what `epochs` makes.
        epochs: How often each image is shown under each attack, on average; None is the preset's.
        batch_size: Images in a step.
        learning_rate: Of Adam, at the beginning.
        drops: At which shares of the steps the rate falls to a tenth.
        images: How many training images are used at the most, as many of each class as there are; 0 for all.
        classes: Labels of the classes whose images are used; none for all (the paper's table 4).
        companions: Names of further classifiers on which images are made; None for the dataset's surrogates.
        eps: Budgets in units of 1/255: `paper`, `code`, `port`, `threat`, or numbers; None goes by the images.
        also: Further attacks in the set, such as `[clean, noise]`.
        flip: Whether images are mirrored at random; None for where that is natural.
    """

    loss: str = Guide.LGD.value
    network: str = Architecture.DUNET.value
    preset: str = AUTO
    steps: int | None = None
    epochs: int | None = None
    batch_size: int = 60
    learning_rate: float = 1e-3
    drops: Sequence[float] = (0.6,)
    images: int = 30_000
    classes: Sequence[int] = ()
    companions: Sequence[str] | None = None
    eps: str | Sequence[int] | None = None
    also: Sequence[str] = ()
    flip: bool | None = None

    def length(self, setting: Setting, images: int) -> Length:
        """`epochs` times the (image, attack) pairs, in batches."""
        self._refuse_arguments()
        preset = with_arguments(preset_for(self.preset, setting.shape), self, "epochs")
        pairs = images * len(self.craftings(setting))
        steps = preset.epochs * pairs // max(1, self.batch_size)
        self._steps = max(1, steps) if self.steps is None else self.steps
        return Length(self._steps, self.batch_size)

    def craftings(self, setting: Setting) -> Sequence[Crafting]:
        """The seven attacks, as far as there are companions, and what `also` adds."""
        return craftings(setting, eps=self.eps, also=self.also)

    def select(self, labels: Tensor) -> Tensor:
        """Images of the classes that are wanted, `images` at the most, evenly over these classes."""
        known = sorted(set(labels.tolist()))
        wanted = known if not len(self.classes) else list(self.classes)
        missing = [label for label in wanted if label not in known]
        if missing:
            raise BenchError(
                f"hgd's classes are labels from {known[0]} to {known[-1]} of training images; got "
                f"{', '.join(map(repr, missing))}"
            )
        members = [(labels == label).nonzero().flatten() for label in dict.fromkeys(wanted)]
        if not self.images or sum(map(len, members)) <= self.images:
            return torch.cat(members).sort().values
        return _evenly(members, self.images)

    def build(self, setting: Setting, attacks: Mapping[str, TrainingAttack]) -> None:
        """Makes the denoiser and its optimiser."""
        del attacks  # the static set has been made
        guide, architecture = self._refuse_arguments()
        self._names = [crafting.name for crafting in self.craftings(setting)]
        self._guidance = guidance_of(guide, setting)
        self._flips = setting.dataset in MIRRORED if self.flip is None else self.flip
        self._network = Denoiser(
            setting.shape[0],
            preset_for(self.preset, setting.shape).widths,
            has_laterals=architecture is Architecture.DUNET,
        ).to(setting.device, setting.dtype)
        self._optimizer = Adam(self._network.parameters(), lr=self.learning_rate)

    def step(self, x: Tensor, y: Tensor, *, step: int, draws: Draws) -> dict[str, float]:
        """One update on a batch, each image under one of the attacks."""
        x_adv = self._adversarial(x, draws.at("attack"))
        if self._flips:
            x, x_adv = (mirrored(each, draws=draws.at("flip")) for each in (x, x_adv))
        with torch.no_grad():
            wanted = self._guidance.representation(x)
        self._network.train()
        noise = noise_of(self._network, x_adv)
        seen = self._guidance.representation(denoised(x_adv, noise))
        loss = self._guidance.loss(seen, wanted, y)
        descend(self._optimizer, loss, rate=self._rate(step))
        return {self.loss: float(loss.detach()), "noise": float(noise.detach().abs().mean())}

    def _adversarial(self, x: Tensor, draws: Draws) -> Tensor:
        """One image of the static set for each of x, `(b, c, h, w)`, the attack drawn at random."""
        which = draws.integers(len(self._names))  # (b,)
        x_adv = torch.empty_like(x)
        for i, name in enumerate(self._names):
            at = (which == i).nonzero().flatten()
            if len(at):
                x_adv[at] = self._crafted.images(name, draws.images[at]).to(x.device, x.dtype)
        return x_adv

    def _rate(self, step: int) -> float:
        return self.learning_rate * 0.1 ** sum(step >= s * self._steps for s in self.drops)

    def _refuse_arguments(self) -> tuple[Guide, Architecture]:
        """The loss and the denoiser, where all arguments are in range."""
        guide = choice_of(Guide, "loss", self.loss)
        architecture = choice_of(Architecture, "network", self.network)
        if self.epochs is not None and self.epochs < 1:
            raise BenchError(f"hgd's epochs are at least 1; got {self.epochs}")
        if self.images < 0:
            raise BenchError(f"hgd's images are a number from 0 (all) up; got {self.images}")
        if not self.learning_rate > 0:
            raise BenchError(f"hgd's learning_rate is above 0; got {self.learning_rate}")
        if not all(isinstance(s, int | float) and 0 < s <= 1 for s in self.drops):
            raise BenchError(
                f"hgd's drops are shares of the steps, above 0 and up to 1; got {self.drops!r}"
            )
        return guide, architecture


def _evenly(members: Sequence[Tensor], most: int) -> Tensor:
    """Indices `(most,)`, sorted, taken from classes in turn, in each in a fixed random order."""
    shuffled = []
    for label, indices in enumerate(members):
        zero = torch.zeros(1, dtype=torch.int64)
        shuffled.append(indices[Draws.of(0, zero, "hgd", label).permutations(len(indices))[0]])
    turns = [(turn, label) for label, each in enumerate(shuffled) for turn in range(len(each))]
    chosen = sorted(turns)[:most]
    return torch.stack([shuffled[label][turn] for turn, label in chosen]).sort().values
