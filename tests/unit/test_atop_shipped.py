"""The weights that ship with AToP: their record, their size, and the floor below which training is broken."""

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

SAMPLES = 250
ROWS = 20


def setting() -> Setting:
    digits = DATASETS.get("digits")
    plain = Setting(
        dataset="digits",
        shape=digits.shape,
        classes=10,
        threat=Threat.parse(digits.threat),
        device=torch.device("cpu"),
        classifier=CLASSIFIERS.get("digits-cnn")().load(folder=Path()),
    )
    return replace(plain, weights=shipped())


def shipped() -> Path:
    found = find_weights(
        DEFENSES.get("atop"), label="atop[digits]", classifier="digits-cnn", dataset="digits"
    )
    assert found is not None
    return found


@cache
def images() -> tuple[Tensor, Tensor, Draws]:
    digits = DATASETS.get("digits")(folder=Path())
    indices = digits.order()[:SAMPLES]
    return (
        digits.images("test", indices),
        digits.labels("test")[indices],
        Draws.of(0, indices, "test"),
    )


def undefended() -> Purified:
    return Purified([DEFENSES.get("none")()], setting().defended())


@cache
def oblivious() -> Tensor:
    """Images of the highest margin that PGD-100 finds on the bare classifier."""
    x, y, draws = images()
    attack = ATTACKS.get("pgd")(steps=100, step_size=0.05, loss="margin", keep="max_margin")
    target = Target(undefended(), classes=10)
    return attack(target, x, y, threat=setting().threat, draws=draws.at("attack"))[:, 0]


def accuracy(victim: Purified, x: Tensor, rows: int) -> float:
    """Percent, the mean over single draws."""
    _, y, draws = images()
    with torch.no_grad():
        logits = victim.logits(
            x.repeat_interleave(rows, 0),
            draws=draws.at("score").repeat(rows),
            mode=GradientMode.EXACT,
        )
    return 100 * float((logits.argmax(1) == y.repeat_interleave(rows)).float().mean())


def test_the_record_tells_how_the_shipped_weights_were_made():
    record = json.loads(shipped().with_suffix(".json").read_text())
    assert record["weights_sha256"] == sha256_of(shipped())
    assert record["setting"]["classifier_sha256"] == setting().defended().sha256
    assert record["seed"] == 0
    assert record["command"].startswith("bench train --defense atop")
    assert shipped().stat().st_size < 2_000_000


@pytest.mark.slow
def test_the_shipped_weights_are_past_the_floor():
    x, _, _ = images()
    defense = DEFENSES.get("atop")()
    defense.prepare(setting())
    defended = Purified([defense], setting().defended())
    assert accuracy(undefended(), oblivious(), 1) < 20
    assert accuracy(defended, x, ROWS) > accuracy(undefended(), x, 1) - 5
    assert accuracy(defended, oblivious(), ROWS) > accuracy(undefended(), oblivious(), 1) + 20
