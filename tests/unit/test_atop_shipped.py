"""The weights that ship with AToP and its kin: record, size, and the floor below which training is broken."""

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
from defenses.atop.recipe import AToPRecipe

SAMPLES = 250
ROWS = {"atop": 20, "atop-mae": 20, "trust-no-pixel": 2}
ATOP = "a599b3c45fadc9819240d413e910296c5d34527d0f62e71742d1a82bad6b500a"


def setting(name: str = "atop") -> Setting:
    digits = DATASETS.get("digits")
    plain = Setting(
        dataset="digits",
        shape=digits.shape,
        classes=10,
        threat=Threat.parse(digits.threat),
        device=torch.device("cpu"),
        classifier=CLASSIFIERS.get("digits-cnn")().load(folder=Path()),
    )
    return replace(plain, weights=shipped(name))


def shipped(name: str) -> Path:
    found = find_weights(
        DEFENSES.get(name), label=f"{name}[digits]", classifier="digits-cnn", dataset="digits"
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


@pytest.mark.parametrize("name", ROWS)
def test_the_record_tells_how_the_shipped_weights_were_made(name):
    path = shipped(name)
    record = json.loads(path.with_suffix(".json").read_text())
    assert record["weights_sha256"] == sha256_of(path)
    assert record["setting"]["classifier_sha256"] == setting().defended().sha256
    assert record["seed"] == 0
    assert record["command"].startswith(f"bench train --defense {name} ")
    assert path.stat().st_size < 1_100_000


def test_atops_weights_are_those_of_its_first_results():
    assert sha256_of(shipped("atop")) == ATOP


def test_the_plan_of_atops_digits_is_the_one_its_weights_were_made_by():
    record = json.loads(shipped("atop").with_suffix(".json").read_text())
    recipe = AToPRecipe()
    length = recipe.length(setting(), 1297)
    assert (length.steps, length.batch_size) == (record["steps"], record["batch_size"])
    recipe.build(setting(), {"fgsm": lambda _m, x, _y, _d: x})
    assert recipe._pretraining == record["arguments"]["pretraining"]
    assert recipe._rate == record["arguments"]["learning_rate"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ROWS)
def test_the_shipped_weights_are_past_the_floor(name):
    x, _, _ = images()
    rows = ROWS[name]
    defense = DEFENSES.get(name)()
    defense.prepare(setting(name))
    defended = Purified([defense], setting().defended())
    assert accuracy(undefended(), oblivious(), 1) < 20
    assert accuracy(defended, x, rows) > accuracy(undefended(), x, 1) - 5
    assert accuracy(defended, oblivious(), rows) > accuracy(undefended(), oblivious(), 1) + 20
