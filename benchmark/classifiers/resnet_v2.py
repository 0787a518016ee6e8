"""ResNetV2 with bottlenecks for 32x32 images, as the Keras example that AdvAE uses builds it."""

from __future__ import annotations

from torch import Tensor, nn


class Bottleneck(nn.Module):
    """Norm, ReLU and convolution three times (1x1, 3x3, 1x1), added to the input (He et al., ECCV 2016).

    Args:
        channels: Of the input.
        width: Of the two inner convolutions.
        out: Of the output.
        stride: Of the first convolution.
        is_first: Whether it opens its stage, so that the shortcut is a 1x1 convolution.
        is_bare: Whether its first convolution has neither norm nor ReLU before it, as behind the stem.
    """

    def __init__(
        self,
        channels: int,
        width: int,
        out: int,
        *,
        stride: int = 1,
        is_first: bool = False,
        is_bare: bool = False,
    ) -> None:
        super().__init__()
        opening = [] if is_bare else [_norm(channels), nn.ReLU()]
        self.body = nn.Sequential(
            *opening,
            nn.Conv2d(channels, width, 1, stride=stride),
            _norm(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
            _norm(width),
            nn.ReLU(),
            nn.Conv2d(width, out, 1),
        )
        self.shortcut = nn.Conv2d(channels, out, 1, stride=stride) if is_first else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """`(b, out, h', w')`."""
        y: Tensor = self.shortcut(x) + self.body(x)
        return y


class ResNetV2(nn.Module):
    """Three stages of bottlenecks, 64, 128 and 256 channels wide, of depth 9 n + 2; colour images as they are.

    Args:
        blocks: n, the blocks of a stage.
    """

    def __init__(self, *, blocks: int, classes: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), _norm(16), nn.ReLU())
        stages: list[nn.Module] = []
        width, before = 16, 16
        for stage in range(3):
            out = 4 * width if stage == 0 else 2 * width
            for block in range(blocks):
                is_first = block == 0
                stages.append(
                    Bottleneck(
                        before,
                        width,
                        out,
                        stride=2 if stage and is_first else 1,
                        is_first=is_first,
                        is_bare=is_first and stage == 0,
                    )
                )
                before = out
            width = out
        self.stages = nn.Sequential(*stages)
        self.norm = _norm(before)
        self.head = nn.Linear(before, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Logits `(b, k)` of images `(b, c, h, w)` in [0, 1]."""
        taps = self.norm(self.stages(self.stem(x))).relu()  # (b, 256, h / 4, w / 4)
        logits: Tensor = self.head(taps.mean((2, 3)))
        return logits


def _norm(channels: int) -> nn.BatchNorm2d:
    """Batch norm with Keras's epsilon and momentum."""
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)
