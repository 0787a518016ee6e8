"""Contextual attention: the holes of an image are filled with patches of features from outside them."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

KERNEL = 3
"""Side of the patches that are compared, at the lower resolution."""


class ContextualAttention(nn.Module):
    """Every patch becomes a mixture of the patches that lie outside holes, weighted by likeness.

    Yu et al., "Generative image inpainting with contextual attention", CVPR 2018, section 3.2: patches of 3x3
    are compared by the cosine of their angle (Eq. 2), likenesses that neighbours share are summed (Eq. 3), a
    softmax over all places outside holes gives the weights, and the patches themselves are laid over one
    another, weighted. Comparing happens at a resolution that is `rate` times lower than that of what is copied.

    Where patches overlap their mean is taken, at the border too. It has no weights.

    Args:
        rate: How much lower the resolution is at which patches are compared; even.
        scale: By what cosines are multiplied before the softmax.
        fuse: Over how many neighbours on each axis likenesses are summed; odd, 1 for none.
    """

    def __init__(self, *, rate: int = 2, scale: float = 10.0, fuse: int = 3) -> None:
        super().__init__()
        self.rate = rate
        self.scale = scale
        self.fuse = fuse

    def forward(self, x: Tensor, keep: Tensor) -> Tensor:
        """Attended features, of the shape of `x`.

        Args:
            x: Features `(b, c, h, w)`, h and w multiples of `rate`.
            keep: `(b, 1, H, W)` of the image, H and W multiples of h and w: 1 where it may be seen.
        """
        b, _, h, w = x.shape
        rate = self.rate
        size = (h // rate, w // rate)
        patches = functional.unfold(x[:, :, ::rate, ::rate], KERNEL, padding=KERNEL // 2)
        patches = patches / patches.norm(dim=1, keepdim=True).clamp_min(1e-4)  # (b, 9c, n)
        likeness = patches.transpose(1, 2) @ patches  # (b, n, n): from where, to where
        likeness = fused(likeness.view(b, *size, *size), self.fuse).flatten(3).flatten(1, 2)
        is_outside = outside_holes(keep, size).unsqueeze(2)  # (b, n, 1)
        weights = (self.scale * likeness * is_outside).softmax(1) * is_outside
        geometry = {"kernel_size": 2 * rate, "stride": rate, "padding": rate // 2}
        copied = functional.unfold(x, **geometry) @ weights  # (b, 4 rate^2 c, n)
        covered = functional.fold(
            copied.new_ones(1, 4 * rate**2, copied.shape[2]), (h, w), **geometry
        )
        laid: Tensor = functional.fold(copied, (h, w), **geometry)
        return laid / covered


def outside_holes(keep: Tensor, size: tuple[int, int]) -> Tensor:
    """Which patches of 3x3, at a lower resolution, touch no hole: 1 or 0, `(b, n)`.

    Args:
        keep: `(b, 1, H, W)`, 1 outside holes; every pixel in the corner of a cell speaks for the cell.
        size: Height and width at the lower resolution, whose product is n.
    """
    stride = (keep.shape[2] // size[0], keep.shape[3] // size[1])
    holes = 1 - keep[:, :, :: stride[0], :: stride[1]]
    touched = functional.unfold(holes, KERNEL, padding=KERNEL // 2)  # (b, 9, n)
    return (touched.amax(1) == 0).to(keep.dtype)


def fused(likeness: Tensor, width: int) -> Tensor:
    """Likenesses summed over neighbours along one axis, then along the other (Eq. 3).

    A shift in what is compared goes with the same shift in what it is compared with; nothing lies beyond the
    border.

    Args:
        likeness: `(b, h, w, h, w)`: from where, to where.
        width: How many neighbours are summed, odd: 3 for one on each side.
    """
    for axes in ((2, 4), (1, 3)):
        moved = likeness.movedim(axes, (-2, -1))
        total = moved
        for i in range(1, width // 2 + 1):
            after = functional.pad(moved[..., i:, i:], (0, i, 0, i))
            before = functional.pad(moved[..., :-i, :-i], (i, 0, i, 0))
            total = total + after + before
        likeness = total.movedim((-2, -1), axes)
    return likeness
