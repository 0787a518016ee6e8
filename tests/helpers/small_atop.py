"""What the tests of AToP share: draws, transforms, images and a setting, all small."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import nn

from benchmark.engine.dataset import Dataset
from benchmark.engine.randomness import Draws
from benchmark.engine.threat import Threat
from benchmark.engine.victims.classifier import Classifier
from benchmark.engine.victims.setting import Setting
from defenses.atop.transforms import Kind, Transform


def draws(n: int, *, start: int = 0) -> Draws:
    return Draws.of(2, torch.arange(start, start + n), "test", "eot")


def transform(kind: str, **changes) -> Transform:
    given = {"sigma": 0.25, "patch": 1, "ratio": 0.25, "copies": 4} | changes
    return Transform(kind=Kind(kind), **given)


def images(n: int = 5, c: int = 1, side: int = 8) -> torch.Tensor:
    return torch.rand(n, c, side, side, generator=torch.Generator().manual_seed(0))


def setting(shape: tuple[int, int, int] = (1, 8, 8), weights: Path | None = None) -> Setting:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = nn.Sequential(nn.Flatten(), nn.Linear(math.prod(shape), 10))
    return Setting(
        dataset="made-up",
        shape=shape,
        classes=10,
        threat=Threat.parse("linf:0.15"),
        device=torch.device("cpu"),
        classifier=Classifier(network, name="linear", classes=10, sha256="0"),
        weights=weights,
    )


class Stripes(Dataset):
    """Images whose left or right half is light: two classes, 64 images."""

    name = "made-up"
    shape = (1, 8, 8)
    classes = 10
    threat = "linf:0.15"
    model = ""

    def labels(self, split):
        return torch.arange(64) % 2

    def images(self, split, indices):
        x = 0.2 + 0.1 * torch.rand(64, 1, 8, 8, generator=torch.Generator().manual_seed(3))
        x[::2, :, :, :4] += 0.6
        x[1::2, :, :, 4:] += 0.6
        return x[indices]
