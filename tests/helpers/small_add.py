"""What the tests of ADD-Defense share: a tiny task, a tiny preset, draws and settings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from benchmark.engine.dataset import Dataset
from benchmark.engine.randomness import Draws
from benchmark.engine.threat import Threat
from benchmark.engine.victims.classifier import Classifier
from benchmark.engine.victims.setting import Setting
from defenses.add.presets import PRESETS

TINY = replace(
    PRESETS[0],
    widths=(8, 8, 12),
    critic=(4, 8),
    hidden=8,
    domain=(8,),
    steps=4,
    batch_size=16,
    learning_rate=3e-3,
)
KNOWN = ("fgsm()", "pgd(steps=2, step_size=0.5, target_class=1)")


class Stripes(Dataset):
    """Images whose left or right half is light: two of ten classes, 48 images."""

    name = "made-up"
    shape = (1, 8, 8)
    classes = 10
    threat = "linf:0.15"
    model = ""

    def labels(self, split):
        return torch.arange(48) % 2

    def images(self, split, indices):
        x = 0.2 + 0.1 * torch.rand(48, 1, 8, 8, generator=torch.Generator().manual_seed(3))
        x[::2, :, :, :4] += 0.6
        x[1::2, :, :, 4:] += 0.6
        return x[indices]


def stripes() -> Stripes:
    return Stripes(folder=Path())


def draws(n: int, *, start: int = 0) -> Draws:
    return Draws.of(2, torch.arange(start, start + n), "test", "eot")


def images(n: int = 5, c: int = 1, side: int = 8) -> torch.Tensor:
    return torch.rand(n, c, side, side, generator=torch.Generator().manual_seed(0))


def setting(
    shape: tuple[int, int, int] = (1, 8, 8), weights: Path | None = None, **changes
) -> Setting:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = nn.Sequential(nn.Flatten(), nn.Linear(shape[0] * shape[1] * shape[2], 10))
    fields = {
        "dataset": "made-up",
        "shape": shape,
        "classes": 10,
        "threat": Threat.parse("linf:0.15"),
        "device": torch.device("cpu"),
        "classifier": Classifier(network, name="linear", classes=10, sha256="0"),
        "weights": weights,
    }
    return Setting(**{**fields, **changes})
