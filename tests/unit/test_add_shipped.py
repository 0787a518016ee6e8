"""The weights that ship with ADD-Defense: their record, their size, and the floor of a training that worked."""

import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import Tensor

from benchmark.classifiers.names import CLASSIFIERS
from benchmark.purified import Purified
from benchmark.randomness import Draws
from benchmark.setting import Setting
from benchmark.shelf import ATTACKS, DATASETS, DEFENSES
from benchmark.target import Target
from benchmark.threat import Threat
from benchmark.victim import GradientMode
from benchmark.weights import find_weights, sha256_of

NAMES = ("add", "add-s")


def shipped(name: str) -> Path:
    found = find_weights(
        DEFENSES.get(name), label=f"{name}[digits]", classifier="digits-cnn", dataset="digits"
    )
    assert found is not None
    return found


@cache
def setting() -> Setting:
    digits = DATASETS.get("digits")
    return Setting(
        dataset="digits",
        shape=digits.shape,
        classes=10,
        threat=Threat.parse(digits.threat),
        device=torch.device("cpu"),
        classifier=CLASSIFIERS.get("digits-cnn")().load(folder=Path()),
    )


@cache
def images() -> tuple[Tensor, Tensor, Draws]:
    digits = DATASETS.get("digits")(folder=Path())
    indices = torch.arange(500)
    return digits.images("test", indices), digits.labels("test"), Draws.of(0, indices, "test")


def victim(name: str) -> Purified:
    defense = DEFENSES.get(name)()
    if name in NAMES:
        defense.prepare(replace(setting(), weights=shipped(name)))
    return Purified([defense], setting().defended())


@cache
def attacked(attack: str, threat: str) -> Tensor:
    """Images that an attack on the bare classifier made."""
    x, y, draws = images()
    arguments = {
        "pgd": {"steps": 100, "step_size": 0.05, "loss": "margin", "keep": "max_margin"},
        "stadv": {"bound": 0.1},
    }
    made = ATTACKS.get(attack)(**arguments[attack])
    target = Target(victim("none"), classes=10)
    return made(target, x, y, threat=Threat.parse(threat), draws=draws.at("attack"))[:, 0]


def accuracy(name: str, x: Tensor) -> float:
    """Percent."""
    _, y, draws = images()
    with torch.no_grad():
        logits = victim(name).logits(x, draws=draws, mode=GradientMode.EXACT)
    return 100 * float((logits.argmax(1) == y).float().mean())


@pytest.mark.parametrize("name", NAMES)
def test_the_record_tells_how_the_shipped_weights_were_made(name):
    record = json.loads(shipped(name).with_suffix(".json").read_text())
    assert record["weights_sha256"] == sha256_of(shipped(name))
    assert record["setting"]["classifier_sha256"] == setting().defended().sha256
    assert record["seed"] == 0
    assert record["command"].startswith(f"bench train --defense {name} ")
    assert len(record["static_sets"]) == 2
    assert shipped(name).stat().st_size < 2_000_000


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_shipped_weights_are_past_the_floor(name):
    x, _, _ = images()
    oblivious = attacked("pgd", "linf:0.15")
    bare = accuracy("none", oblivious)
    assert bare < 20
    assert accuracy(name, x) > accuracy("none", x) - 5
    assert accuracy(name, oblivious) > bare + 20


@pytest.mark.slow
def test_what_was_trained_on_moved_pixels_holds_against_them_better_than_what_was_not():
    moved = attacked("stadv", "linf:1")
    bare, pixel, spatial = (accuracy(name, moved) for name in ("none", *NAMES))
    assert bare < 10
    assert spatial > pixel
    assert spatial > bare + 20


@pytest.mark.parametrize("auxiliary", ["reconstruction", "domain"])
def test_the_shipped_networks_see_that_an_image_was_attacked(auxiliary):
    """The mean auxiliary loss grows with the attack's budget."""
    x, y, draws = images()
    few = torch.arange(100)
    defense = DEFENSES.get("add")(auxiliary=auxiliary)
    defense.prepare(replace(setting(), weights=shipped("add")))
    losses = []
    for eps in (0.0, 0.15, 0.3):
        shown = x[few]
        if eps:
            shown = ATTACKS.get("pgd")(steps=10)(
                Target(victim("none"), classes=10),
                shown,
                y[few],
                threat=Threat.parse(f"linf:{eps}"),
                draws=draws.take(few),
            )[:, 0]
        with torch.no_grad():
            losses.append(float(defense.auxiliary_loss(shown, draws=draws.take(few)).mean()))
    assert losses == sorted(losses)
    assert losses[2] > 1.1 * losses[0]
