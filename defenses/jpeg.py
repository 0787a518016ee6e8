"""JPEG compression: a purifier without a gradient, which BPDA must see through."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from benchmark.engine.randomness import Draws
from benchmark.engine.victims.defense import Defense, Derivative
from benchmark.engine.victims.setting import Setting
from benchmark.errors import BenchError

MODES = {1: "L", 3: "RGB"}
"""Pillow's name for images of so many channels."""


@dataclass(kw_only=True, eq=False, repr=False)
class Jpeg(Defense):
    """Compresses each image as a JPEG file and reads it again.

    Guo, Rana, Cisse and van der Maaten, "Countering adversarial images using input transformations", ICLR
    2018. Rounding to bytes and to quantised coefficients leaves no gradient; the identity is its surrogate, as
    in Athalye et al. (ICML 2018), who broke it so. Colour is subsampled 4:2:0, Pillow's default.

    Args:
        quality: From 1 to 95 on the scale of libjpeg.
    """

    name = "jpeg"
    stochastic = False
    gradient = Derivative.NONE

    quality: int = 75

    def prepare(self, setting: Setting) -> None:
        """Refuses a quality or a number of channels that JPEG does not know.

        Raises:
            BenchError: `quality` is out of range, or images have neither one channel nor three.
        """
        if isinstance(self.quality, bool) or self.quality not in range(1, 96):
            raise BenchError(f"jpeg's quality is a whole number from 1 to 95; got {self.quality!r}")
        if setting.shape[0] not in MODES:
            raise BenchError(
                f"jpeg needs grey images (1 channel) or colour (3); {setting.dataset} has "
                f"{setting.shape[0]} channels"
            )

    def purify(self, x: Tensor, *, draws: Draws) -> Tensor:
        """The images `(b, c, h, w)` after a round trip through JPEG; without a gradient."""
        del draws
        pixels = (x.detach() * 255).round().to("cpu", torch.uint8).permute(0, 2, 3, 1).numpy()
        again = np.array([self._round_trip(image) for image in pixels], dtype=np.uint8)
        x_hat = torch.from_numpy(again.reshape(pixels.shape)).permute(0, 3, 1, 2)
        return (x_hat.to(x.dtype) / 255).to(
            x.device
        )  # a GPU divides by a number with another rounding

    def _round_trip(
        self, image: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]
    ) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
        """One image `(h, w, c)` of bytes, compressed and read again."""
        mode = MODES[image.shape[2]]
        file = io.BytesIO()
        Image.fromarray(image.squeeze(2) if mode == "L" else image).save(
            file, format="JPEG", quality=self.quality
        )
        return np.asarray(Image.open(file)).reshape(image.shape)
