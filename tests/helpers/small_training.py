"""What the tests of training share: images of bars, their setting, and a small recipe."""

from __future__ import annotations

import time

import torch
from torch import nn

from benchmark.engine.dataset import Dataset
from benchmark.engine.randomness import Draws
from benchmark.engine.threat import Threat
from benchmark.engine.victims.setting import Setting
from benchmark.recipe import Recipe
from benchmark.training.record import TrainingOptions

THREAT = Threat.parse("linf:0.1")
SETTING = Setting(
    dataset="bars", shape=(1, 4, 4), classes=4, threat=THREAT, device=torch.device("cpu")
)


class Bars(Dataset):
    """4x4 images whose bright row is their label."""

    name = "bars"
    shape = (1, 4, 4)
    classes = 4
    threat = "linf:0.1"
    model = ""

    def labels(self, split):
        return torch.arange(70) % 4

    def images(self, split, indices):
        noise = Draws.of(0, indices, split).uniform((1, 4, 4)) * 0.3
        noise[torch.arange(len(indices)), 0, self.labels(split)[indices]] += 0.5
        return noise


class Small(Recipe):
    """A network with batch norm and dropout, trained by Adam: everything that a resumption could forget."""

    def __init__(self, *, steps=40, batch_size=16, rate=1e-2, pause=0.0):
        self.steps = steps
        self.batch_size = batch_size
        self.rate = rate
        self.pause = pause

    def build(self, setting, attacks):
        self.attacked = attacks
        self.net = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.1)
        )
        self.net.append(nn.Sequential(nn.Flatten(), nn.Linear(128, 4)))
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=self.rate)

    def modules(self):
        return {"net": self.net}

    def optimizers(self):
        return {"adam": self.optimizer}

    def step(self, x, y, *, step, draws):
        time.sleep(self.pause)
        x = x + 0.01 * draws.at("noise").normal(tuple(x.shape[1:]))
        loss = nn.functional.cross_entropy(self.net(x), y)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return {"loss": loss.item()}

    def product(self):
        return dict(self.net.state_dict())


def eager(**more) -> TrainingOptions:
    """Options that keep a checkpoint after every step."""
    return TrainingOptions(checkpoint_seconds=0.0, **more)
