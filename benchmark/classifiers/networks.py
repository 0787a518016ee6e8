"""Small networks for small images; each takes [0, 1] images and normalises them itself."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn


def _block(c_in: int, c_out: int) -> nn.Sequential:
    """Two 3x3 convolutions with batch norm, then half the size."""
    return nn.Sequential(
        nn.Conv2d(c_in, c_out, 3, padding=1, bias=False),
        nn.BatchNorm2d(c_out),
        nn.ReLU(),
        nn.Conv2d(c_out, c_out, 3, padding=1, bias=False),
        nn.BatchNorm2d(c_out),
        nn.ReLU(),
        nn.MaxPool2d(2),
    )


class SmallCNN(nn.Module):
    """VGG in small (Simonyan and Zisserman, ICLR 2015): blocks of two convolutions, then a head.

    Args:
        shape: `(c, h, w)` of an image.
        widths: Channels of each block; each halves height and width.
        hidden: Width of the head's hidden layer.
    """

    def __init__(
        self, shape: tuple[int, int, int], classes: int, *, widths: Sequence[int], hidden: int
    ) -> None:
        super().__init__()
        c, h, w = shape
        shrink = 2 ** len(widths)
        self.blocks = nn.Sequential(
            *(_block(a, b) for a, b in zip((c, *widths), widths, strict=False))
        )
        self.head = nn.Sequential(
            nn.Flatten(),
            nn.Linear(widths[-1] * (h // shrink) * (w // shrink), hidden),
            nn.ReLU(),
            nn.Linear(hidden, classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Logits `(b, k)` of images `(b, c, h, w)` in [0, 1]."""
        logits: Tensor = self.head(self.blocks(2 * x - 1))
        return logits


class _Residual(nn.Module):
    """A residual block without batch statistics: group norm and GELU before each convolution."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.GroupNorm(4, width),
            nn.GELU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.GroupNorm(4, width),
            nn.GELU(),
            nn.Conv2d(width, width, 3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """`(b, width, h, w)` to the same shape."""
        out: Tensor = x + self.body(x)
        return out


class SmallConv(nn.Module):
    """A convolutional network unlike `SmallCNN`: patches, residual blocks, group norm, global average pooling.

    Args:
        shape: `(c, h, w)` of an image.
        width: Channels throughout.
        patch: Stride of the first convolution, whose kernel is one wider on each side.
        depth: Residual blocks.
    """

    def __init__(
        self, shape: tuple[int, int, int], classes: int, *, width: int, patch: int, depth: int
    ) -> None:
        super().__init__()
        self.stem = nn.Conv2d(shape[0], width, patch + 2, stride=patch, padding=1)
        self.blocks = nn.Sequential(*(_Residual(width) for _ in range(depth)))
        self.norm = nn.GroupNorm(4, width)
        self.head = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits `(b, k)` of images `(b, c, h, w)` in [0, 1]."""
        taps = self.norm(self.blocks(self.stem(2 * x - 1))).relu()  # (b, width, h', w')
        logits: Tensor = self.head(taps.mean((2, 3)))
        return logits


class SmallVGG(nn.Module):
    """VGG as it was published, in small (Simonyan and Zisserman, ICLR 2015, Table 1, configuration A).

    Plain 3x3 convolutions without any normalisation, more of them in later blocks, max-pooling between the
    blocks, then two hidden layers with dropout .5.

    Args:
        shape: `(c, h, w)` of an image.
        blocks: Channels of each convolution, block by block; each block halves height and width.
        hidden: Width of the two hidden layers.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        classes: int,
        *,
        blocks: Sequence[Sequence[int]],
        hidden: int,
    ) -> None:
        super().__init__()
        channels, h, w = shape
        layers: list[nn.Module] = []
        for widths in blocks:
            for width in widths:
                layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
                channels = width
            layers.append(nn.MaxPool2d(2))
        shrink = 2 ** len(blocks)
        self.blocks = nn.Sequential(*layers)
        self.head = nn.Sequential(
            nn.Flatten(),
            nn.Linear(channels * (h // shrink) * (w // shrink), hidden),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Linear(hidden, classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Logits `(b, k)` of images `(b, c, h, w)` in [0, 1]."""
        logits: Tensor = self.head(self.blocks(2 * x - 1))
        return logits


class SmallMLP(nn.Module):
    """A perceptron with two hidden layers and dropout .2.

    Args:
        shape: `(c, h, w)` of an image.
        hidden: Widths of the hidden layers.
    """

    def __init__(
        self, shape: tuple[int, int, int], classes: int, *, hidden: tuple[int, int]
    ) -> None:
        super().__init__()
        c, h, w = shape
        first, second = hidden
        self.layers = nn.Sequential(
            nn.Flatten(),
            nn.Linear(c * h * w, first),
            nn.ReLU(),
            nn.Dropout(0.2),
            nn.Linear(first, second),
            nn.ReLU(),
            nn.Dropout(0.2),
            nn.Linear(second, classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Logits `(b, k)` of images `(b, c, h, w)` in [0, 1]."""
        logits: Tensor = self.layers(2 * x - 1)
        return logits
