"""Gaussian noise on the input: randomised smoothing's transform, one draw at a time."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from benchmark.engine.randomness import Draws
from benchmark.engine.victims.defense import Defense, Derivative
from benchmark.engine.victims.setting import Setting
from benchmark.errors import BenchError


@dataclass(kw_only=True, eq=False, repr=False)
class Gaussian(Defense):
    """Adds independent normal noise to every pixel and clamps to [0, 1].

    Cohen, Rosenfeld and Kolter, "Certified adversarial robustness via randomized smoothing", ICML 2019. They
    train the classifier under the same noise and vote over many draws; here the classifier is frozen, and
    voting is a criterion of the benchmark's.

    The clamp takes the gradient of the pixels that noise carried out of [0, 1], hence "almost everywhere". The
    default is that paper's middle noise level. Noise is per pixel, so that it costs more on images of few
    pixels, which have no neighbours to average over; a row on such images may name a smaller `sigma`.

    Args:
        sigma: Standard deviation of the noise, in units where pixels live in [0, 1]; above 0.
    """

    name = "gaussian"
    stochastic = True
    gradient = Derivative.ALMOST_EVERYWHERE

    sigma: float = 0.25

    def prepare(self, setting: Setting) -> None:
        """Refuses a noise level that is none.

        Raises:
            BenchError: `sigma` is not a finite number above 0.
        """
        del setting
        if not 0 < self.sigma < float("inf"):
            raise BenchError(
                f"gaussian's sigma is a number above 0, in pixel units of [0, 1]; got {self.sigma!r}"
            )

    def purify(self, x: Tensor, *, draws: Draws) -> Tensor:
        """Noisy images `(b, c, h, w)`, clamped to [0, 1]."""
        noise = draws.at("noise").normal(tuple(x.shape[1:]), dtype=x.dtype)
        return (x + self.sigma * noise).clamp(0.0, 1.0)
