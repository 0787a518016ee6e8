"""Changes: images changed by parameters, whose size the parameters tell and which the harness makes itself."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from benchmark.engine.threat import ROUNDING, NamedSet

DEGREES = 30.0
"""By how much an image of size 1 under `spatial` is rotated at the most (Engstrom et al., ICML 2019)."""
SHIFT = 0.1
"""By which share of its width and of its height it is shifted at the most (the same)."""


@dataclass(frozen=True, eq=False, slots=True)
class Perturbation(ABC):
    """What an attack returns where two images do not say how large a change is.

    The harness reads the size off the parameters, refuses what is too large, and makes the images. A size is
    homogeneous: parameters times a number in [0, 1] have that number times the size.

    Args:
        values: The parameters, `(b, *one)`, or `(b, m, *one)` for m candidates of each image, where `one` is
            the shape that `is_shape` describes.
    """

    values: Tensor
    dims: ClassVar[int]
    """Of `one`."""

    @staticmethod
    @abstractmethod
    def is_shape(one: tuple[int, ...], image: tuple[int, ...]) -> bool:
        """Whether parameters of shape `one` fit an image `(c, h, w)`."""

    @staticmethod
    @abstractmethod
    def size(x: Tensor, values: Tensor) -> Tensor:
        """How large changes `(n, *one)` of images `(n, c, h, w)` are, `(n,)`, in the units of the threat."""

    @staticmethod
    @abstractmethod
    def rendered(x: Tensor, values: Tensor) -> Tensor:
        """The changed images `(n, c, h, w)`."""

    @staticmethod
    def flaw(x: Tensor, values: Tensor) -> str:
        """What makes changes `(n, *one)` impossible, whatever their size; empty where nothing does."""
        del x, values
        return ""


class Flow(Perturbation):
    """A flow `(2, h, w)`: where each pixel is read, as `warped` takes it."""

    __slots__ = ()
    dims = 3

    @staticmethod
    def is_shape(one: tuple[int, ...], image: tuple[int, ...]) -> bool:
        """`(2, h, w)`."""
        return one == (2, *image[1:])

    @staticmethod
    def size(x: Tensor, values: Tensor) -> Tensor:
        """The longest way of any pixel along either axis."""
        del x
        return values.abs().flatten(1).amax(1)

    @staticmethod
    def rendered(x: Tensor, values: Tensor) -> Tensor:
        """The warped images."""
        return warped(x, values)


class Rigid(Perturbation):
    """A rotation and a shift `(3,)`, as `moved` takes them."""

    __slots__ = ()
    dims = 1

    @staticmethod
    def is_shape(one: tuple[int, ...], image: tuple[int, ...]) -> bool:
        """`(3,)`."""
        del image
        return one == (3,)

    @staticmethod
    def size(x: Tensor, values: Tensor) -> Tensor:
        """The greatest of the three, each over its greatest at size 1."""
        del x
        return (values.abs() / reach(values)).amax(1)

    @staticmethod
    def rendered(x: Tensor, values: Tensor) -> Tensor:
        """The rotated and shifted images."""
        return moved(x, values)


class Transport(Perturbation):
    """What is carried from every pixel to its neighbours, `(c, k * k, h, w)`, as `transported` takes it."""

    __slots__ = ()
    dims = 4

    @staticmethod
    def is_shape(one: tuple[int, ...], image: tuple[int, ...]) -> bool:
        """`(c, k * k, h, w)` with an odd k."""
        k = math.isqrt(one[1])
        return (one[0], *one[2:]) == image and k * k == one[1] and k % 2 == 1

    @staticmethod
    def size(x: Tensor, values: Tensor) -> Tensor:
        """What is carried times its way, over all channels, as a share of the brightness of the image.

        It is no less than the Wasserstein distance of the two images (Wu et al., ICML 2020): that is
        the least over all plans. A black image has nothing to carry.
        """
        way = ways(values.shape[2], values).view(1, 1, -1, 1, 1)
        whole = x.flatten(1).sum(1).clamp_min(torch.finfo(x.dtype).tiny)
        return (values * way).flatten(1).sum(1) / whole

    @staticmethod
    def rendered(x: Tensor, values: Tensor) -> Tensor:
        """What stays and what arrives; rounding below 0 and above what a pixel has is cut off."""
        values = _without_centre(values).clamp_min(0.0)
        out = values.sum(2, keepdim=True)
        share = torch.where(out > x.unsqueeze(2), x.unsqueeze(2) / out, torch.ones_like(out))
        return transported(x, values * share)

    @staticmethod
    def flaw(x: Tensor, values: Tensor) -> str:
        """Something negative, more than a pixel has, or a way that leaves the image."""
        values = _without_centre(values)
        k = math.isqrt(values.shape[2])
        inside = unfolded(torch.ones_like(x[:1, :1]), k)  # (1, 1, k * k, h, w)
        if not bool((values >= -ROUNDING).all()):
            return "it carries less than nothing from some pixel"
        if not bool((values.sum(2) <= x + ROUNDING).all()):
            return "it carries more from some pixel than there is"
        if bool((values * (1 - inside) > ROUNDING).any()):
            return "it carries something out of the image"
        return ""


CHANGES: Mapping[str, type[Perturbation]] = MappingProxyType(
    {NamedSet.STADV: Flow, NamedSet.SPATIAL: Rigid, NamedSet.WASSERSTEIN: Transport}
)
"""What an attack returns under each threat whose changes are known by their parameters alone."""


def reach(like: Tensor) -> Tensor:
    """What a rotation and a shift of size 1 are at the most, as `moved` takes them, `(3,)`."""
    return torch.tensor([DEGREES, SHIFT, SHIFT], dtype=like.dtype, device=like.device)


def warped(x: Tensor, flow: Tensor) -> Tensor:
    """Images `(b, c, h, w)` whose pixels are read elsewhere, bilinearly; beyond the border, from the border.

    Args:
        x: Images.
        flow: Where each pixel is read, relative to its place: `(b, 2, h, w)`, along the width and along the
            height, where the image is 2 wide and 2 high.
    """
    h, w = x.shape[2:]
    across, down = _places(w, x), _places(h, x)
    grid = torch.stack((across.expand(h, w), down[:, None].expand(h, w)), dim=-1)  # (h, w, 2)
    return functional.grid_sample(
        x, grid + flow.permute(0, 2, 3, 1), padding_mode="border", align_corners=False
    )


def moved(x: Tensor, parameters: Tensor) -> Tensor:
    """Images `(b, c, h, w)` rotated about their middle and then shifted, bilinearly; what comes in is black.

    (Engstrom et al., "Exploring the landscape of spatial robustness", ICML 2019.)

    Args:
        x: Images.
        parameters: `(b, 3)`: degrees anticlockwise, shift to the right as a share of the width, shift down as a
            share of the height.
    """
    h, w = x.shape[2:]
    angle = torch.deg2rad(parameters[:, 0]).view(-1, 1, 1)
    cos, sin = angle.cos(), angle.sin()
    right, down = (parameters[:, i].view(-1, 1, 1) for i in (1, 2))
    across = (w / 2) * _places(w, x) - w * right  # (b, 1, w), in pixels from the middle
    along = ((h / 2) * _places(h, x))[:, None] - h * down  # (b, h, 1)
    source = torch.stack(
        ((across * cos - along * sin) * (2 / w), (across * sin + along * cos) * (2 / h)), dim=-1
    )  # (b, h, w, 2)
    return functional.grid_sample(x, source, padding_mode="zeros", align_corners=False)


def transported(x: Tensor, plan: Tensor) -> Tensor:
    """Images `(b, c, h, w)` some of whose brightness was carried to other pixels of its channel.

    Args:
        x: Images.
        plan: How much each pixel gives to each of the k x k places around it, row by row, `(b, c, k * k, h,
            w)`. The middle one is itself: what stands there is not looked at.
    """
    b, c, kk, h, w = plan.shape
    k = math.isqrt(kk)
    given = _without_centre(plan)
    arriving = functional.fold(
        given.reshape(b, c * kk, h * w), (h, w), kernel_size=k, padding=k // 2
    )
    return x - given.sum(2) + arriving


def unfolded(x: Tensor, k: int) -> Tensor:
    """The k x k places around each pixel `(b, c, h, w)`, row by row, 0 outside: `(b, c, k * k, h, w)`."""
    b, c, h, w = x.shape
    return functional.unfold(x, k, padding=k // 2).view(b, c, k * k, h, w)


def ways(kk: int, like: Tensor) -> Tensor:
    """The lengths of the ways to k x k places, in pixels, row by row, `(k * k,)`."""
    k = math.isqrt(kk)
    at = torch.arange(k, dtype=like.dtype, device=like.device) - k // 2
    return (at[:, None].square() + at.square()).sqrt().flatten()


def _places(n: int, like: Tensor) -> Tensor:
    """Middles of n pixels along an axis that is 2 long, `(n,)`."""
    return (2 * torch.arange(n, dtype=like.dtype, device=like.device) + 1) / n - 1


def _without_centre(plan: Tensor) -> Tensor:
    keeps = torch.ones(plan.shape[2], dtype=plan.dtype, device=plan.device)
    keeps[plan.shape[2] // 2] = 0.0
    return plan * keeps.view(-1, 1, 1)
