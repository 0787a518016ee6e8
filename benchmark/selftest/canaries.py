"""Known-broken purifiers: an evaluation that neither brings them down nor says why does not attack."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from benchmark.engine.dataset import images_of, indices_of
from benchmark.engine.randomness import Draws
from benchmark.engine.victims.defense import Defense, Derivative
from benchmark.engine.victims.setting import Setting
from benchmark.engine.victims.victim import Around, GradientMode, StraightThrough, Victim
from benchmark.evaluation.prepare.loading import data_folder, load_dataset


class ZeroGradient(Defense):
    """Changes nothing and hides it: the image goes through, its gradient is scaled to nothing.

    It declares an exact gradient, as such purifiers do; only BPDA, transfer and queries see through it.
    """

    name = "zero-gradient"
    stochastic = False
    gradient = Derivative.EXACT
    summary = "the identity with a gradient of zero; broken on purpose"

    def purify(self, x: Tensor, *, draws: Draws) -> Tensor:
        """The image, with no gradient behind it."""
        del draws
        out: Tensor = StraightThrough.apply(x * 0, x.detach().clone())
        return out


@dataclass(kw_only=True, eq=False, repr=False)
class BitDepth(Defense):
    """Rounds each pixel to few grey levels: feature squeezing (Xu, Evans and Qi, NDSS 2018, section III.A).

    It has no gradient; the identity is its surrogate (Athalye, Carlini and Wagner, ICML 2018, section 5.2).

    Args:
        bits: Of a pixel; 3 are 8 levels.
    """

    name = "bit-depth"
    stochastic = False
    gradient = Derivative.NONE
    summary = "few grey levels; broken by BPDA (Xu et al. 2018)"

    bits: int = 3

    def purify(self, x: Tensor, *, draws: Draws) -> Tensor:
        """The images at the nearest of `2 ** bits` levels from 0 to 1; without a gradient."""
        del draws
        top = 2**self.bits - 1
        squeezed: Tensor = (x.detach() * top).round() / top
        return squeezed


@dataclass(kw_only=True, eq=False, repr=False)
class Saturating(Defense):
    """Leaves the image alone and multiplies the logits, so that in float32 the softmax saturates.

    Cross-entropy is then flat wherever the answer is right, as behind defensive distillation (Papernot et al.,
    S&P 2016); losses of logit differences do not see the factor (Carlini and Wagner, S&P 2017, section VIII).

    Args:
        scale: What logits are multiplied with.
    """

    name = "saturating"
    stochastic = False
    gradient = Derivative.EXACT
    summary = "logits so large that cross-entropy is flat (after defensive distillation, 2016)"

    scale: float = 1e4

    def purify(self, x: Tensor, *, draws: Draws) -> Tensor:
        """The image."""
        del draws
        return x * 1.0

    def wrap(self, purified: Victim) -> Victim:
        """The victim with its logits rescaled."""
        return Rescaled(purified, self.scale)


class Rescaled(Around):
    """A victim whose logits are multiplied: every prediction, and every sign of a gradient, is what it was."""

    def __init__(self, inner: Victim, scale: float) -> None:
        super().__init__(inner)
        self.scale = scale

    def logits(self, x: Tensor, *, draws: Draws, mode: GradientMode) -> Tensor:
        """The inner logits `(b, k)` times `scale`."""
        return self.scale * self.inner.logits(x, draws=draws, mode=mode)


@dataclass(kw_only=True, eq=False, repr=False)
class Memoriser(Defense):
    """Puts out the nearest of the clean images that it is evaluated on: it knows the answers by heart.

    Such an accuracy says nothing about any other image, and no attack inside the budget can lower it.

    Args:
        images: How many it remembers: the first of the dataset's evaluation order.
    """

    name = "memoriser"
    stochastic = False
    gradient = Derivative.NONE
    summary = "the nearest clean evaluation image; broken on purpose"

    images: int = 50

    def prepare(self, setting: Setting) -> None:
        """Remembers the images that an evaluation will show."""
        dataset = load_dataset(setting.dataset, folder=data_folder(None))
        first = torch.tensor(indices_of(dataset, "test", "nested")[: self.images])
        self._known = images_of(dataset, "test", first).to(setting.device, setting.dtype)

    def purify(self, x: Tensor, *, draws: Draws) -> Tensor:
        """For each image the nearest remembered one in l2; without a gradient."""
        del draws
        distance = (x.detach()[:, None] - self._known[None]).flatten(2).square().sum(2)  # (b, n)
        return self._known[distance.argmin(1)]


@dataclass(kw_only=True, eq=False, repr=False)
class Crowd(Defense):
    """Leaves a lone image alone, and mixes each image of a large batch with its neighbour in it.

    What it makes of an image hangs on which others are asked about at the same time, so that no number that it
    is given belongs to an image.

    Args:
        size: The fewest rows that are a crowd.
    """

    name = "crowd"
    stochastic = False
    gradient = Derivative.EXACT
    summary = "another purifier in large batches; broken on purpose"

    size: int = 8

    def purify(self, x: Tensor, *, draws: Draws) -> Tensor:
        """The images; in a crowd each with a quarter of the one before it."""
        del draws
        return x * 1.0 if len(x) < self.size else 0.75 * x + 0.25 * x.roll(1, 0)


@dataclass(kw_only=True, eq=False, repr=False)
class Constant(Defense):
    """Puts out one grey image wherever it suspects an attack: where a pixel is at none of the dataset's levels.

    An image that has been touched is then classified as grey is, whatever it shows, and gradients are zero
    around everything but the clean images themselves.

    Args:
        levels: Grey levels of a clean pixel above 0; the digits have 16.
    """

    name = "constant"
    stochastic = False
    gradient = Derivative.ALMOST_EVERYWHERE
    summary = "a grey image where it suspects an attack; broken on purpose"

    levels: int = 16

    def purify(self, x: Tensor, *, draws: Draws) -> Tensor:
        """Clean images as they are, all others grey with a gradient of zero."""
        del draws
        steps = x.detach() * self.levels
        is_touched = ((steps - steps.round()).abs() > 1e-3).flatten(1).any(1).view(-1, 1, 1, 1)
        return torch.where(is_touched, 0.0 * x + 0.5, x)


class Hidden(Defense):
    """Changes nothing where no gradient can follow, and names a surrogate that points elsewhere.

    Neither of the gradients that it offers says anything; the operations that it is made of do.
    """

    name = "hidden"
    stochastic = False
    gradient = Derivative.NONE
    summary = "the identity behind no_grad and a turned surrogate; broken on purpose"

    def purify(self, x: Tensor, *, draws: Draws) -> Tensor:
        """The image, without a gradient."""
        del draws
        with torch.no_grad():
            return x * 1.0

    def surrogate(self, x: Tensor, *, draws: Draws) -> Tensor:
        """Its mirror image."""
        del draws
        return x.flip(-1)


class Grains(Hidden):
    """The same, shaken pixel by pixel by a hash of itself, so that not even its operations say what it does.

    Answers do: an attacker who sees these alone goes on where every gradient stops.
    """

    name = "grains"
    summary = "a hash of the image as its noise; broken on purpose"

    def purify(self, x: Tensor, *, draws: Draws) -> Tensor:
        """The image and up to a tenth more or less of each pixel, the same for the same image."""
        del draws
        with torch.no_grad():
            grain = (torch.sin(1e4 * x) * 1e4).frac().abs() - 0.5
            return (x + 0.2 * grain).clamp(0, 1)
