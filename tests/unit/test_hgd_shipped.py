"""The weights that ship with HGD: their record, their size, and the floor below which training is broken."""

import json
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
from benchmark.trust.checks import run_checks
from benchmark.victim import GradientMode
from benchmark.weights import find_weights, sha256_of


@cache
def shipped() -> Path:
    found = find_weights(
        DEFENSES.get("hgd"), label="hgd[digits]", classifier="digits-cnn", dataset="digits"
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
        weights=shipped(),
    )


def victim(name: str) -> Purified:
    defense = DEFENSES.get(name)()
    defense.prepare(setting())
    return Purified([defense], setting().defended())


def accuracy(of: Purified, x: Tensor, y: Tensor, draws: Draws) -> float:
    with torch.no_grad():
        logits = of.logits(x, draws=draws, mode=GradientMode.EXACT)
    return 100 * float((logits.argmax(1) == y).float().mean())


def test_the_record_tells_how_the_shipped_weights_were_made():
    record = json.loads(shipped().with_suffix(".json").read_text())
    assert record["weights_sha256"] == sha256_of(shipped())
    assert record["setting"]["classifier_sha256"] == setting().defended().sha256
    assert sorted(record["setting"]["companions"]) == ["digits-conv", "digits-mlp"]
    assert len(record["static_sets"]) == 7
    assert record["seed"] == 0
    assert record["command"].startswith("bench train --defense hgd")
    assert shipped().stat().st_size < 2_000_000


@pytest.mark.slow
def test_the_shipped_weights_are_past_the_floor_and_fall_to_an_attack_through_them():
    digits = DATASETS.get("digits")(folder=Path())
    indices = torch.arange(500)
    x, y = digits.images("test", indices), digits.labels("test")
    draws = Draws.of(0, indices, "test")
    pgd = ATTACKS.get("pgd")(steps=40, step_size=0.1, loss="margin", keep="max_margin")
    bare, defended = victim("none"), victim("hgd")

    def attacked(of: Purified) -> Tensor:
        target = Target(of, classes=10)
        return pgd(target, x, y, threat=setting().threat, draws=draws.at("attack"))[:, 0]

    oblivious = attacked(bare)
    assert accuracy(bare, oblivious, y, draws) < 10
    assert accuracy(defended, x, y, draws) > accuracy(bare, x, y, draws) - 5
    assert accuracy(defended, oblivious, y, draws) > accuracy(bare, oblivious, y, draws) + 20
    adaptive = accuracy(defended, attacked(defended), y, draws)
    assert adaptive < accuracy(defended, oblivious, y, draws) - 20  # Athalye and Carlini 2018


def test_it_keeps_its_contract_with_the_other_auxiliary_loss():
    defense = DEFENSES.get("hgd")(auxiliary="features")
    defense.prepare(setting())
    digits = DATASETS.get("digits")(folder=Path())
    found = run_checks(defense, setting(), digits.images("test", digits.order()[:6]))
    assert [f"{each.name}: {each.detail}" for each in found if not each.passed] == []
