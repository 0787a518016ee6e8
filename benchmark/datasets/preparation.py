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
_STEP = re.compile(
    r"crop:(?P<crop>\d{1,4})"
    r"|resize:(?P<h>\d{1,4})(?:x(?P<w>\d{1,4}))?(?::(?P<how>nearest|bilinear|bicubic|lanczos))?"
)


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
    how: str


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
        # a third of a small run's time where no image is prepared
        from torchvision.transforms import InterpolationMode, functional

        for step in self.steps:
            if step.is_crop:
                image = functional.center_crop(image, [step.height])
            else:
                size = [side for side in (step.height, step.width) if side]
                image = functional.resize(image, size, InterpolationMode(step.how))
        tensor: Tensor = functional.to_tensor(image)
        return tensor


def _step(word: str, text: str) -> Step:
    found = _STEP.fullmatch(word)
    if found is None:
        raise BenchError(
            f"preparation {text!r} is not understood at {word!r}; expected {', '.join(ROBUSTBENCH)}, or steps "
            f"such as resize:256:bicubic,crop:224"
        )
    height, width = found["crop"] or found["h"], found["crop"] or found["w"]
    if not all(map(int, filter(None, (height, width)))):
        raise BenchError(f"preparation {text!r}: a side has at least 1 pixel")
    return Step(bool(found["crop"]), int(height), int(width or 0), found["how"] or "bilinear")
