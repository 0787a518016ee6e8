"""Preparations: the way from a stored photograph to a tensor, by RobustBench's name or step by step."""

from __future__ import annotations

import re
from dataclasses import dataclass

from PIL import Image
from torch import Tensor

from benchmark.errors import BenchError

ROBUSTBENCH = {
    "Res256Crop224": "resize:256,crop:224",
    "BicubicRes256Crop224": "resize:256:bicubic,crop:224",
    "Crop288": "crop:288",
    "Res224": "resize:224x224",
}
"""RobustBench's names (its table `PREPROCESSINGS`), each as steps."""
_RESIZE = re.compile(
    r"resize:(?P<h>\d{1,4})(?:x(?P<w>\d{1,4}))?(?::(?P<how>nearest|bilinear|bicubic|lanczos))?"
)
_CROP = re.compile(r"crop:(?P<h>\d{1,4})")


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a preparation.

    Args:
        is_crop: Cut out of the centre, padded with black where the image is smaller; else resized.
        height: Rows; of a resize without a width, the length of the shorter side.
        width: Columns; 0 where a resize keeps the ratio of the sides.
        how: The interpolation of a resize.
    """

    is_crop: bool
    height: int
    width: int
    how: str = "bilinear"

    def __call__(self, image: Image.Image) -> Image.Image:
        """The image after this step."""
        from torchvision import (
            transforms,
        )  # a third of a small run's time where no image is prepared

        if self.is_crop:
            cropped: Image.Image = transforms.CenterCrop(self.height)(image)
            return cropped
        size = [self.height, self.width] if self.width else self.height
        how = transforms.InterpolationMode(self.how)
        resized: Image.Image = transforms.Resize(size, interpolation=how)(image)
        return resized


@dataclass(frozen=True, slots=True)
class Preparation:
    """Steps from a photograph to an image tensor; with none, the photograph as it is."""

    steps: tuple[Step, ...]

    @classmethod
    def parse(cls, text: str) -> Preparation:
        """The preparation that a text names.

        Args:
            text: One of RobustBench's names, or steps such as `resize:256:bicubic,crop:224`: `resize:S` makes
                the shorter side S pixels long, `resize:HxW` sets both, `crop:S` cuts a square out of the
                centre. The last step sets both sides, so that all images have one shape. Empty for no step.

        Raises:
            BenchError: It is not understood.
        """
        words = ROBUSTBENCH.get(text, text)
        steps = tuple(_step(word, text) for word in words.split(",")) if words else ()
        if steps and not steps[-1].width:
            raise BenchError(
                f"preparation {text!r} leaves the shape of an image open: end with crop:S or resize:HxW"
            )
        return cls(steps)

    @property
    def shape(self) -> tuple[int, int, int] | None:
        """`(3, h, w)` of every image; None where there is no step."""
        return (3, self.steps[-1].height, self.steps[-1].width) if self.steps else None

    def __call__(self, image: Image.Image) -> Tensor:
        """A photograph as a tensor `(3, h, w)`, float32 in [0, 1]: bytes over 255."""
        from torchvision import transforms

        for step in self.steps:
            image = step(image)
        tensor: Tensor = transforms.ToTensor()(image)
        return tensor


def _step(word: str, text: str) -> Step:
    if found := _CROP.fullmatch(word):
        return Step(True, _side(found["h"], text), _side(found["h"], text))
    if found := _RESIZE.fullmatch(word):
        width = _side(found["w"], text) if found["w"] else 0
        return Step(False, _side(found["h"], text), width, found["how"] or "bilinear")
    raise BenchError(
        f"preparation {text!r} is not understood at {word!r}; expected {', '.join(ROBUSTBENCH)}, or steps "
        f"such as resize:256:bicubic,crop:224"
    )


def _side(digits: str, text: str) -> int:
    if not int(digits):
        raise BenchError(f"preparation {text!r}: a side has at least 1 pixel")
    return int(digits)
