"""How training images are moved and mirrored, by dataset, before anything else is done to them."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from benchmark.engine.randomness import Draws
from benchmark.engine.victims.setting import Setting
from benchmark.recipe import MIRRORED, mirrored, shifted

CROPPED = frozenset({"imagenette", "imagenet"})
"""Those that AToP's code pads by an eighth of their side and crops at random."""


@dataclass(frozen=True, slots=True)
class Augmentation:
    """What is done to a batch of training images.

    Args:
        shift: By how many pixels at the most each is moved, each way, over black.
        flip: Whether each is turned left to right with probability one half.
    """

    shift: int
    flip: bool

    @classmethod
    def of(
        cls, setting: Setting, *, shift: int | None, flip: bool | None, otherwise: int
    ) -> Augmentation:
        """What was wanted; where that is None, the dataset's, and `otherwise` where it says nothing."""
        dataset = setting.dataset
        if shift is None:
            shift = setting.shape[2] // 8 if dataset in CROPPED else otherwise
        return cls(shift, dataset in MIRRORED if flip is None else flip)

    def __call__(self, x: Tensor, *, draws: Draws) -> Tensor:
        """Images `(b, c, h, w)` moved and mirrored, each by itself."""
        x = shifted(x, self.shift, draws=draws.at("shift"))
        return mirrored(x, draws=draws.at("flip")) if self.flip else x
