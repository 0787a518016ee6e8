"""The weights for digits that ship with the project, prepared, and images made on the bare classifier."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmark.classifiers.catalog import CLASSIFIERS
from benchmark.engine.attacking.target import Target
from benchmark.engine.randomness import Draws
from benchmark.engine.threat import Threat
from benchmark.engine.victims.purified import Purified
from benchmark.engine.victims.setting import Setting
from benchmark.engine.victims.victim import GradientMode
from benchmark.files.weights import find_weights
from benchmark.plugins import ATTACKS, DATASETS, DEFENSES

PGD = {"steps": 100, "step_size": 0.05, "loss": "margin", "keep": "max_margin"}


@cache
def plain_setting() -> Setting:
    """The digits task and its default classifier."""
    digits = DATASETS.get("digits")
    return Setting(
        dataset="digits",
        shape=digits.shape,
        classes=10,
        threat=Threat.parse(digits.threat),
        device=torch.device("cpu"),
        classifier=CLASSIFIERS.get("digits-cnn")().load(folder=Path()),
    )


def shipped(name: str) -> Path:
    """The weights file of a defense."""
    found = find_weights(
        DEFENSES.get(name), label=f"{name}[digits]", classifier="digits-cnn", dataset="digits"
    )
    assert found is not None
    return found


def record(name: str) -> dict[str, Any]:
    """The training record beside it."""
    return json.loads(shipped(name).with_suffix(".json").read_text())


def setting(name: str) -> Setting:
    """The task, with a defense's weights."""
    return replace(plain_setting(), weights=shipped(name))


@cache
def images() -> tuple[Tensor, Tensor, Draws]:
    """All 500 test images `(500, 1, 8, 8)`, their labels and draws."""
    digits = DATASETS.get("digits")(folder=Path())
    indices = digits.order()
    return (
        digits.images("test", indices),
        digits.labels("test")[indices],
        Draws.of(0, indices, "test"),
    )


def victim(name: str, **arguments: object) -> Purified:
    """A defense with its shipped weights before the classifier; `none` for the classifier alone."""
    defense = DEFENSES.get(name)(**arguments)
    if name != "none":
        defense.prepare(setting(name))
    return Purified([defense], plain_setting().defended())


@cache
def oblivious(attack: str = "pgd", threat: str = "linf:0.15") -> Tensor:
    """What PGD-100 for the highest margin, or another attack, makes of all test images on the classifier."""
    x, y, draws = images()
    made = ATTACKS.get(attack)(**(PGD if attack == "pgd" else {"bound": 0.1}))
    target = Target(victim("none"), classes=10)
    return made(target, x, y, threat=Threat.parse(threat), draws=draws.at("attack"))[:, 0]


def accuracy(of: Purified, x: Tensor, rows: int = 1) -> float:
    """Percent of all test images, the mean over so many single draws of each."""
    _, y, draws = images()
    with torch.no_grad():
        logits = of.logits(
            x.repeat_interleave(rows, 0),
            draws=draws.at("score").repeat(rows),
            mode=GradientMode.EXACT,
        )
    return 100 * float((logits.argmax(1) == y.repeat_interleave(rows)).float().mean())
