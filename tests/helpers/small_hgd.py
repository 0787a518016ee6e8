"""What the tests of HGD share: a small classifier with batch norm, a setting, a dataset, a static set."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmark.engine.dataset import Dataset
from benchmark.engine.randomness import Draws
from benchmark.engine.threat import Threat
from benchmark.engine.victims.classifier import Classifier
from benchmark.engine.victims.setting import Setting
from defenses.hgd.presets import PRESETS

TINY = replace(PRESETS["digits"], widths=(4, 8), epochs=2)


def draws(n: int, *, start: int = 0) -> Draws:
    return Draws.of(2, torch.arange(start, start + n), "test")


def images(n: int = 5, c: int = 1, side: int = 8) -> Tensor:
    return torch.rand(n, c, side, side, generator=torch.Generator().manual_seed(0))


def classifier(
    name: str = "conv", shape: tuple[int, int, int] = (1, 8, 8), seed: int = 0
) -> Classifier:
    """Convolution, batch norm, ReLU (its map), a linear layer."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = nn.Sequential(
            nn.Sequential(nn.Conv2d(shape[0], 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU()),
            nn.Flatten(),
            nn.Linear(6 * shape[1] * shape[2], 10),
        )
    return Classifier(network, name=name, classes=10, sha256=f"{name}-{seed}")


def setting(
    shape: tuple[int, int, int] = (1, 8, 8),
    *,
    weights: Path | None = None,
    threat: str = "linf:0.15",
    companions: tuple[str, ...] = (),
    dataset: str = "made-up",
) -> Setting:
    return Setting(
        dataset=dataset,
        shape=shape,
        classes=10,
        threat=Threat.parse(threat),
        device=torch.device("cpu"),
        classifier=classifier(shape=shape),
        weights=weights,
        companions={
            name: classifier(name, shape, seed + 1) for seed, name in enumerate(companions)
        },
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


class Shifted:
    """A static set that holds, for every attack, the images plus .05; it remembers what it was asked for."""

    def __init__(self, x: Tensor) -> None:
        self.x = x
        self.asked: list[tuple[str, list[int]]] = []

    def images(self, name: str, indices: Tensor) -> Tensor:
        self.asked.append((name, indices.tolist()))
        return self.x[indices] + 0.05
