"""The denoising masked auto-encoder: a vision transformer that sees some noisy patches, and paints them all."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from defenses.atop.mae_presets import MAEPreset

PIXELS = 2
"""How much wider than [0, 1] the range is in which the networks see images: [-1, 1]."""


class MaskedAutoencoder(nn.Module):
    """Encoder over the patches that are shown, decoder over all of them.

    He et al., "Masked autoencoders are scalable vision learners", CVPR 2022, section 3, as Wu et al. use it,
    "Denoising masked autoencoders help robust classification", ICLR 2023. Positions are fixed sines and
    cosines. Its last layer ends in a tanh, scaled to [0, 1], where theirs is linear: it paints an image.

    Args:
        channels: c of the images.
        preset: Widths, depths and patches.
    """

    positions: Tensor
    decoder_positions: Tensor

    def __init__(self, channels: int, preset: MAEPreset) -> None:
        super().__init__()
        p, width, narrow = preset.patch, preset.width, preset.decoder_width
        self.patch = p
        self.embed = nn.Conv2d(channels, width, p, stride=p)
        self.class_token = nn.Parameter(torch.zeros(1, 1, width))
        self.blocks = nn.Sequential(*(Block(width, preset.heads) for _ in range(preset.depth)))
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.decoder_embed = nn.Linear(width, narrow)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, narrow))
        self.decoder_blocks = nn.Sequential(
            *(Block(narrow, preset.decoder_heads) for _ in range(preset.decoder_depth))
        )
        self.decoder_norm = nn.LayerNorm(narrow, eps=1e-6)
        self.decoder_pixels = nn.Linear(narrow, p * p * channels)
        self.register_buffer("positions", sines(preset.grid, width), persistent=False)
        self.register_buffer("decoder_positions", sines(preset.grid, narrow), persistent=False)
        self._initialise()

    def forward(self, image: Tensor, shown: Tensor) -> Tensor:
        """All patches painted: images `(b, c, h, w)` in [0, 1].

        Args:
            image: `(b, c, h, w)`, in [0, 1] but for noise; whole.
            shown: Indices `(b, m)` of the patches that the encoder sees, counted along rows.
        """
        b, _, height, width = image.shape
        tokens = self.embed(PIXELS * image - 1).flatten(2).transpose(1, 2)  # (b, n, d)
        tokens = _picked(tokens + self.positions, shown)  # (b, m, d)
        tokens = torch.cat((self.class_token.expand(b, -1, -1), tokens), dim=1)
        tokens = self.decoder_embed(self.norm(self.blocks(tokens)))
        n = self.positions.shape[0]
        where = shown.unsqueeze(2).expand(-1, -1, tokens.shape[2])
        every = self.mask_token.to(tokens).expand(b, n, -1).scatter(1, where, tokens[:, 1:])
        every = torch.cat((tokens[:, :1], every + self.decoder_positions), dim=1)
        painted = self.decoder_pixels(self.decoder_norm(self.decoder_blocks(every))[:, 1:])
        p = self.patch
        folded = functional.fold(painted.transpose(1, 2), (height, width), p, stride=p)
        return (folded.tanh() + 1) / PIXELS

    def _initialise(self) -> None:
        """Xavier-uniform matrices, zero biases, tokens of deviation .02, as in MAE's code."""
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Conv2d) and module.bias is not None:
                nn.init.xavier_uniform_(module.weight.data.flatten(1))
                module.bias.data.zero_()
        nn.init.normal_(self.class_token, std=0.02)
        nn.init.normal_(self.mask_token, std=0.02)


class Block(nn.Module):
    """A transformer's block: attention, then a perceptron four times as wide, each after a normalisation.

    Args:
        width: Of a token.
        heads: Of the attention; a divisor of the width.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens `(b, n, d)`."""
        x = x + self._attend(self.norm1(x))
        out: Tensor = x + self.fc2(functional.gelu(self.fc1(self.norm2(x))))
        return out

    def _attend(self, x: Tensor) -> Tensor:
        b, n, d = x.shape
        qkv = self.qkv(x).view(b, n, 3, self.heads, d // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each (b, heads, n, d / heads)
        weights = (q @ k.transpose(2, 3) * (d // self.heads) ** -0.5).softmax(3)
        out: Tensor = self.proj((weights @ v).transpose(1, 2).reshape(b, n, d))
        return out


def sines(grid: int, width: int) -> Tensor:
    """Fixed positions of a square grid's patches, `(grid * grid, width)`.

    A quarter of the width each: sines and cosines of the column, sines and cosines of the row, at frequencies
    from 1 down to 1/10000.
    """
    quarter = width // 4
    frequencies = 10000 ** (-torch.arange(quarter, dtype=torch.float64) / quarter)
    angles = torch.arange(grid, dtype=torch.float64)[:, None] * frequencies  # (grid, quarter)
    along = torch.cat((angles.sin(), angles.cos()), dim=1)  # (grid, width / 2)
    columns, rows = along.repeat(grid, 1), along.repeat_interleave(grid, 0)
    return torch.cat((columns, rows), dim=1).to(torch.get_default_dtype())


def _picked(tokens: Tensor, shown: Tensor) -> Tensor:
    """The tokens `(b, m, d)` of indices `(b, m)`."""
    return tokens.gather(1, shown.unsqueeze(2).expand(-1, -1, tokens.shape[2]))
