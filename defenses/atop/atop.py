"""AToP: a random transform that destroys perturbations, and a generator that restores the image."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from benchmark.defense import Defense, Derivative
from benchmark.errors import BenchError
from benchmark.randomness import Draws
from benchmark.setting import Setting
from benchmark.weights import load_safetensors
from defenses.atop.network import Generator
from defenses.atop.presets import AUTO, preset_for
from defenses.atop.transforms import transform_for


class AToP(Defense):
    """`x_hat = g(t(x))`: t masks and adds noise, g fills and denoises; fine-tuned through the classifier.

    Lin, Li, Zhang, Tanaka and Zhao, "Adversarial training on purification (AToP): advancing both robustness
    and generalization", ICLR 2024. The networks are scaled to small images, hence `atop[digits]` and the like.
    Masks and noise are drawn for each image, not once a batch. The paper attacks it by BPDA with the identity,
    which is the surrogate here; autograd gives the exact gradient.

    Args:
        transform: `rt1`, `rt2` or `rt3`.
        sigma: Standard deviation of the noise, in units where pixels live in [0, 1]; None is the preset's.
        patch: Side of a masked patch in pixels; None is the preset's.
        ratio: Share of the patches that are masked; None is the preset's.
        copies: Masks of `rt3`.
        preset: Size of the networks; `auto` takes the one that is made for the images' shape.
    """

    name = "atop"
    stochastic = True
    gradient = Derivative.EXACT
    needs_weights = True
    recipe = "defenses.atop.recipe:AToPRecipe"
    summary = "adversarial training on purification (Lin et al. 2024)"

    def __init__(
        self,
        *,
        transform: str = "rt2",
        sigma: float | None = None,
        patch: int | None = None,
        ratio: float | None = None,
        copies: int = 4,
        preset: str = AUTO,
    ) -> None:
        self.transform = transform
        self.sigma = sigma
        self.patch = patch
        self.ratio = ratio
        self.copies = copies
        self.preset = preset

    def variant(self, shape: tuple[int, int, int]) -> str:
        """The preset's name; the paper's own network, for 256 pixels, is none of them."""
        return preset_for(self.preset, shape).name

    def prepare(self, setting: Setting) -> None:
        """Builds the generator and loads its weights.

        Raises:
            BenchError: An argument is out of range, no preset fits, or the weights are missing or those of
                another network.
        """
        preset = preset_for(self.preset, setting.shape)
        self._transform = transform_for(
            preset,
            transform=self.transform,
            sigma=self.sigma,
            patch=self.patch,
            ratio=self.ratio,
            copies=self.copies,
        )
        if setting.weights is None:
            raise BenchError(
                f"{self.label(setting.shape)} has no weights for {setting.dataset}; train them with: "
                f"bench train --defense atop --dataset {setting.dataset}"
            )
        generator = Generator(setting.shape[0], preset).to(setting.device, setting.dtype)
        state = load_safetensors(setting.weights, setting.device, setting.dtype)
        _refuse_other_network(state, generator.state_dict(), setting.weights)
        generator.load_state_dict(state)
        self._generator = generator.requires_grad_(False).eval()

    def purify(self, x: Tensor, *, draws: Draws) -> Tensor:
        """Restored images `(b, c, h, w)` in [0, 1], at one draw of the transform for each."""
        views = self._transform.views(x, draws=draws)
        _, x2 = self._generator(views.images, views.keep)
        return views.compose(x2)


def _refuse_other_network(
    state: Mapping[str, Tensor], expected: Mapping[str, Tensor], path: Path
) -> None:
    shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
    wanted = {name: tuple(tensor.shape) for name, tensor in expected.items()}
    for name in sorted(shapes.keys() | wanted.keys()):
        if shapes.get(name) != wanted.get(name):
            raise BenchError(
                f"weights {str(path)!r} are another network's: {name} is {shapes.get(name)} where this "
                f"preset of atop has {wanted.get(name)}; give the weights trained for it"
            )
