"""What the tests of AID-Purifier share: a small convolutional classifier with taps, and weights for it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from benchmark.engine.randomness import Draws
from benchmark.engine.threat import Threat
from benchmark.engine.victims.classifier import Classifier
from benchmark.engine.victims.setting import Setting
from benchmark.files.weights import save_safetensors
from defenses.aid.aid import AID
from defenses.aid.network import discriminator_for
from defenses.aid.presets import preset_for
from defenses.presets import with_arguments


def draws(n: int, *, start: int = 0) -> Draws:
    return Draws.of(2, torch.arange(start, start + n), "test")


def images(n: int = 5, shape: tuple[int, int, int] = (1, 8, 8)) -> torch.Tensor:
    return torch.rand(n, *shape, generator=torch.Generator().manual_seed(0))


def seeded(make, seed: int = 0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return make()


def classifier(channels: int = 1) -> Classifier:
    """Three convolutions, of 4, 6 and 8 channels; stem, 1/3, 2/3 and 3/3 are the layers 0, 2, 4 and 6."""
    network = seeded(
        lambda: nn.Sequential(
            nn.Conv2d(channels, 4, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(4, 6, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(6, 8, 3, padding=1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(8, 10),
        )
    )
    return Classifier(network, name="three", classes=10, sha256="0")


def setting(
    shape: tuple[int, int, int] = (1, 8, 8), *, dataset: str = "made-up", threat: str = "linf:0.15"
) -> Setting:
    return Setting(
        dataset=dataset,
        shape=shape,
        classes=10,
        threat=Threat.parse(threat),
        device=torch.device("cpu"),
        classifier=classifier(shape[0]),
    )


def untrained(path: Path, stage: Setting, **arguments) -> Setting:
    """The setting with a file of first weights, made for the defense of these arguments."""
    defense = AID(**arguments)
    preset = preset_for(defense.preset, stage.shape, stage.dataset)
    preset = with_arguments(preset, defense, "taps")
    _, discriminator = seeded(lambda: discriminator_for(stage, preset, network=defense.network), 3)
    save_safetensors(dict(discriminator.state_dict()), path)
    return replace(stage, weights=path)


def prepared(folder: Path, stage: Setting | None = None, **arguments) -> AID:
    """The defense with first weights."""
    defense = AID(**arguments)
    defense.prepare(untrained(folder / "w.safetensors", stage or setting(), **arguments))
    return defense
