"""AID-Purifier: small signed steps towards what a discriminator on the classifier's features calls clean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.nn import functional

from benchmark.engine.randomness import Draws
from benchmark.engine.victims.defense import Defense, Derivative
from benchmark.engine.victims.network_weights import with_weights
from benchmark.engine.victims.setting import Setting
from benchmark.errors import BenchError
from defenses.aid.network import discriminator_for, refuse_other_taps
from defenses.aid.presets import preset_for
from defenses.presets import AUTO, with_arguments


@dataclass(kw_only=True, eq=False, repr=False)
class AID(Defense):
    """`x_{k+1} = clip(x + clip_eps(x_k + a * sign(grad D(x_k)) - x))`, K times from `x_0 = x`.

    Hwang, Lee and Rhee, "AID-Purifier: a light auxiliary network for boosting adversarial defense",
    2021 (arXiv 2107.06456). D says how likely the image is clean, out of features of the frozen classifier.

    The steps are signs and the ball is centred on x, so that the derivative of `purify` is the identity almost
    everywhere but where an image meets 0 or 1. The ascent is on D's logit: the same signs as on the sigmoid,
    whose gradient rounds to 0 where D is certain.

    Args:
        preset: Hyper-parameters; `auto` takes those of the dataset.
        taps: Positions in the classifier at which D looks, named as in `benchmark.engine.victims.taps`; None is
            the preset's.
        network: `code` (batch norm), or `paper` (none).
        steps: K; None is the preset's.
        eps: Radius of the ball around x, linf, in pixel units of [0, 1]; None is the preset's.
        step_size: a, in the same units; None is a fourth of eps, as in the authors' code.
    """

    name = "aid"
    stochastic = False
    gradient = Derivative.ALMOST_EVERYWHERE
    needs_grad_inside = True
    needs_weights = True
    recipe = "defenses.aid.recipe:AIDRecipe"

    preset: str = AUTO
    taps: Sequence[str] | None = None
    network: str = "code"
    steps: int | None = None
    eps: float | None = None
    step_size: float | None = None

    def variant(self, shape: tuple[int, int, int]) -> str:
        """The preset's name where its network is narrower than the paper's."""
        return preset_for(self.preset, shape).variant

    def prepare(self, setting: Setting) -> None:
        """Taps the classifier, builds the discriminator and loads its weights."""
        preset = preset_for(self.preset, setting.shape, setting.dataset)
        preset = with_arguments(preset, self, "taps", "steps", "eps")
        self._eps = preset.radius(setting.threat)
        self._step = self._eps / 4 if self.step_size is None else self.step_size
        self._steps = preset.steps
        if not self._step > 0 or self._steps < 1:
            raise BenchError(
                f"aid needs at least 1 step and a step_size above 0; got steps={self._steps}, "
                f"step_size={self._step}"
            )
        self._eye, discriminator = discriminator_for(setting, preset, network=self.network)
        places = discriminator.places.clone()
        self._discriminator = with_weights(discriminator, setting, self)
        refuse_other_taps(self._discriminator, places)

    def purify(self, x: Tensor, *, draws: Draws) -> Tensor:
        """Images `(b, c, h, w)` in [0, 1], no farther than eps from `x`.

        Each pixel's derivative is carried along with it, 0 or 1, so that the graph of K steps is that of one
        product, whatever K.
        """
        del draws
        x_k, slope = x, torch.ones_like(x)
        with torch.no_grad():
            for _ in range(self._steps):
                δ = x_k + self._step * self._uphill(x_k) - x
                moved = x + δ.clamp(-self._eps, self._eps)
                slope = torch.where(δ.abs() <= self._eps, slope, 1.0)
                slope = torch.where((moved >= 0.0) & (moved <= 1.0), slope, 0.0)
                x_k = moved.clamp(0.0, 1.0)
        return x_k + slope * (x - x.detach())

    def auxiliary_loss(self, x: Tensor, *, draws: Draws) -> Tensor:
        """`BCE(D(x), 1) = -log D(x)` of each image, `(b,)`: small where D calls it clean (Eq. 1)."""
        del draws
        return functional.softplus(-self._logit(x))

    def _logit(self, x: Tensor) -> Tensor:
        logit: Tensor = self._discriminator(self._eye(x))
        return logit.to(x.dtype)  # autocast may have put it out in bfloat16

    def _uphill(self, x_k: Tensor) -> Tensor:
        """The signs of the gradient of D, `(b, c, h, w)`, without a graph.

        What its own graph saves is kept from the hooks of activation checkpointing, which would compute all of
        `purify` again for each of these gradients; it is detached, since an output that was saved with its
        graph would keep that for ever.
        """
        with torch.enable_grad(), saved_tensors_hooks(Tensor.detach, _as_it_is):
            leaf = x_k.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(self._logit(leaf).sum(), leaf)
        return gradient.sign()


def _as_it_is(tensor: Tensor) -> Tensor:
    return tensor
