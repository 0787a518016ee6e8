"""What AToP's purifiers share: a random transform, and a network behind it that restores the image."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor, nn

from benchmark.engine.randomness import Draws
from benchmark.engine.victims.defense import Defense, Derivative
from benchmark.engine.victims.network_weights import with_weights
from benchmark.engine.victims.setting import Setting
from defenses.atop.resolution import resized, shape_at
from defenses.presets import Sized, joined


class Restoration(Defense):
    """A transform, and its network behind it, at the images' own size or at a larger one."""

    stochastic = True
    gradient = Derivative.EXACT
    needs_weights = True
    preset: str
    upscale: int | None

    @abstractmethod
    def preset_at(self, shape: tuple[int, int, int]) -> Sized:
        """The preset for images `(c, h, w)` of a shape.

        Raises:
            BenchError: Nothing has its name, or no preset is made for that shape.
        """

    @abstractmethod
    def network_at(self, shape: tuple[int, int, int]) -> nn.Module:
        """The network for images of a shape, with new weights; the transform is made with it.

        Raises:
            BenchError: An argument is out of range, or no preset fits.
        """

    @abstractmethod
    def trained_for(self) -> tuple[str, ...]:
        """What the weights were trained for besides the preset, as the variant's name says it."""

    @abstractmethod
    def restored(self, x: Tensor, draws: Draws) -> Tensor:
        """What the network makes, at one draw each, of images of the size at which it purifies."""

    def variant(self, shape: tuple[int, int, int]) -> str:
        """The preset's name, and what else the weights were trained for."""
        preset = self.preset_at(shape_at(shape, self.upscale))
        size = "" if self.upscale is None else f"at{self.upscale}px"
        return joined(preset.variant, *self.trained_for(), size)

    def prepare(self, setting: Setting) -> None:
        """Builds the network and loads its weights."""
        self._shape = shape_at(setting.shape, self.upscale)
        self._network = with_weights(self.network_at(self._shape), setting, self)

    def purify(self, x: Tensor, *, draws: Draws) -> Tensor:
        """Restored images `(b, c, h, w)` in [0, 1], at one draw of the transform for each."""
        return resized(self.restored(resized(x, self._shape), draws), x.shape)
