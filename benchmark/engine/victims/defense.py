"""The interface of purifiers: one small class that cleans a batch of images."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from enum import StrEnum
from typing import ClassVar, final

import torch
from torch import Tensor

from benchmark.engine.arguments import arguments_of
from benchmark.engine.randomness import Draws
from benchmark.engine.threat import ROUNDING
from benchmark.engine.victims.setting import Setting
from benchmark.engine.victims.victim import Victim
from benchmark.errors import ContractBroken


class Derivative(StrEnum):
    """What `purify` offers to back-propagation."""

    EXACT = "exact"
    """Autograd through `purify` gives its derivative."""
    ALMOST_EVERYWHERE = "almost-everywhere"
    """It does, away from jumps that hide something (sign steps, clamps, rounding)."""
    NONE = "none"
    """There is none; only `surrogate` carries a gradient."""


class Defense(ABC):
    """A purifier: cleans images before a frozen classifier sees them.

    `__init__` of a subclass takes keyword-only arguments, stores them under their own names and does nothing
    else, so that the constructor is the configuration; weights load in `prepare`. What a class declares about
    itself is checked by `bench check`, not believed.
    """

    name: ClassVar[str]
    stochastic: ClassVar[bool]
    """Whether two calls with other draws may differ."""
    gradient: ClassVar[Derivative]
    needs_grad_inside: ClassVar[bool] = False
    """Whether `purify` itself differentiates (AID-Purifier, SOAP); it then runs under `enable_grad`."""
    needs_weights: ClassVar[bool] = False
    """Whether `prepare` needs `setting.weights`."""
    recipe: ClassVar[str | None] = None
    """How it is trained: `"module:Class"` of a `benchmark.recipe.Recipe`, or None where nothing is trained."""
    summary: ClassVar[str] = ""
    """One line for a listing, with its paper."""

    def prepare(self, setting: Setting) -> None:
        """Loads weights and taps the classifier; called once, before anything else.

        Raises:
            BenchError: An argument is out of range, no preset fits, or the weights are missing, damaged, or
                made for another network.
        """
        del setting

    @abstractmethod
    def purify(self, x: Tensor, *, draws: Draws) -> Tensor:
        """Purifies a batch.

        Args:
            x: Images `(b, c, h, w)` in [0, 1]. Not to be changed in place.
            draws: The only source of randomness allowed; one stream an image.

        Returns:
            Purified images, of the shape, dtype and range of `x`.
        """

    def surrogate(self, x: Tensor, *, draws: Draws) -> Tensor:
        """A differentiable stand-in for `purify`, used for the backward pass of BPDA; the identity by default.

        (Athalye, Carlini and Wagner, "Obfuscated gradients give a false sense of security", ICML 2018.)
        """
        del draws
        return x

    def auxiliary_loss(self, x: Tensor, *, draws: Draws) -> Tensor:
        """How strongly the purifier wants to change each image, `(b,)`; small means that it would stay inert.

        By default the mean absolute change of a pixel. Its gradient reaches `x` wherever the purifier has one.
        """
        return (self(x, draws=draws) - x).abs().flatten(1).mean(1)

    def wrap(self, purified: Victim) -> Victim:
        """The victim to be attacked, out of the plain one (purifier, then classifier); by default that one.

        Override it to vote, to smooth, or to return logits of another kind.
        """
        return purified

    def variant(self, shape: tuple[int, int, int]) -> str:
        """The preset's name for images of a shape, where its network is not the paper's (`digits`)."""
        del shape
        return ""

    @final
    def label(self, shape: tuple[int, int, int]) -> str:
        """The name under which results on images `(c, h, w)` are published, such as `atop[digits]`."""
        variant = self.variant(shape)
        return f"{self.name}[{variant}]" if variant else self.name

    def arguments(self) -> dict[str, object]:
        """The constructor's arguments with their values, as they enter a job's key."""
        return arguments_of(self)

    @final
    def __call__(self, x: Tensor, *, draws: Draws) -> Tensor:
        """`purify`, with its contract enforced: the one door through which it is called.

        Raises:
            ContractBroken: It changed its input in place, or returned another shape or dtype, NaN, or a value
                outside [0, 1].
        """
        version = x._version
        rounding = ROUNDING
        x_hat = self.purify(x, draws=draws)
        if x._version != version:
            raise ContractBroken(
                f"defense {self.name!r} changed its input in place; purify() must leave x as it is "
                f"(start from x.clone())"
            )
        device = x.device.type
        if torch.is_autocast_enabled(device) and x_hat.dtype == torch.get_autocast_dtype(device):
            rounding = float(torch.finfo(x_hat.dtype).eps)  # a search in mixed precision
            x_hat = x_hat.to(x.dtype)
        if x_hat.shape != x.shape or x_hat.dtype != x.dtype:
            raise ContractBroken(
                f"defense {self.name!r} returned {x_hat.dtype} of shape {tuple(x_hat.shape)} for images "
                f"{x.dtype} of shape {tuple(x.shape)}; purify() must return the same"
            )
        if x_hat.numel():
            low, high = (float(v) for v in torch.aminmax(x_hat.detach()))
            if not (low >= -rounding and high <= 1 + rounding):  # written so that NaN fails too
                raise ContractBroken(
                    f"defense {self.name!r} returned values from {low:g} to {high:g}; purify() must "
                    f"return images in [0, 1] (clamp at the end)"
                )
        return x_hat


def weakest_gradient(defenses: Iterable[Defense]) -> Derivative:
    """What a chain offers to back-propagation: the least that one of its stages does."""
    order = [Derivative.EXACT, Derivative.ALMOST_EVERYWHERE, Derivative.NONE]
    return max(
        (defense.gradient for defense in defenses), key=order.index, default=Derivative.EXACT
    )
