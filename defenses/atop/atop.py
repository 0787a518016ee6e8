"""AToP: a random transform that destroys perturbations, and a generator that restores the image."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

from torch import Tensor

from benchmark.engine.randomness import Draws
from defenses.atop.network import Generator
from defenses.atop.presets import Preset, preset_for
from defenses.atop.restoration import Restoration
from defenses.atop.transforms import RTS, Kind, Transform, kind_of, transform_for
from defenses.presets import AUTO, with_arguments


class Inpainting(Restoration):
    """A transform of AToP's with its generator behind it."""

    @abstractmethod
    def transform_of(self, preset: Preset) -> Transform:
        """What hides pixels.

        Raises:
            BenchError: An argument is out of range.
        """

    def preset_at(self, shape: tuple[int, int, int]) -> Preset:
        """AToP's."""
        return preset_for(self.preset, shape)

    def network_at(self, shape: tuple[int, int, int]) -> Generator:
        """The generator."""
        preset = self.preset_at(shape)
        self._transform = self.transform_of(preset)
        return Generator(shape[0], preset)

    def restored(self, x: Tensor, draws: Draws) -> Tensor:
        """What the generator fills in."""
        views = self._transform.views(x, draws=draws)
        return views.compose(self._network(views.images, views.keep)[1])


@dataclass(kw_only=True, eq=False, repr=False)
class AToP(Inpainting):
    """`x_hat = g(t(x))`: t masks and adds noise, g fills and denoises; fine-tuned through the classifier.

    Lin, Li, Zhang, Tanaka and Zhao, "Adversarial training on purification (AToP): advancing both robustness
    and generalization", ICLR 2024. From 128 pixels on the network is the paper's; smaller ones are scaled, so
    that they are published as `atop[digits]` and the like. Weights trained otherwise than with RT2 and
    fine-tuning have labels of their own (`atop[digits-rt3]`, `atop[digits-pretrained]`). Masks and noise are
    drawn for each image, not once a batch. The paper attacks it by BPDA with the identity, which is the
    surrogate here; autograd gives the exact gradient.

    Args:
        transform: `rt1`, `rt2` or `rt3`.
        sigma: Standard deviation of the noise, in units where pixels live in [0, 1]; None is the preset's.
        patch: Side of a masked patch in pixels; None is the preset's.
        ratio: Share of the patches that are masked; None is the preset's.
        copies: Masks of `rt3`.
        preset: Size of the networks; `auto` takes the one that is made for the images' shape.
        tuned: Whether the weights are fine-tuned on adversarial images, or pre-trained only ("without AToP").
        upscale: Height and width at which images are purified, before they are brought back (256 in the paper's
            CIFAR experiments); None is their own. The budget stays at their own.
    """

    name = "atop"
    recipe = "defenses.atop.recipe:AToPRecipe"

    transform: str = "rt2"
    sigma: float | None = None
    patch: int | None = None
    ratio: float | None = None
    copies: int = 4
    preset: str = AUTO
    tuned: bool = True
    upscale: int | None = None

    def trained_for(self) -> tuple[str, ...]:
        """The transform where that is not the paper's RT2, and whether there was no fine-tuning."""
        kind = kind_of(self.transform, RTS)
        return "" if kind is Kind.RT2 else kind, "" if self.tuned else "pretrained"

    def transform_of(self, preset: Preset) -> Transform:
        """RT1, RT2 or RT3."""
        given = with_arguments(preset, self, "sigma", "patch", "ratio")
        return transform_for(given, kind_of(self.transform, RTS), self.copies)
