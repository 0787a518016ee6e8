"""The weights that ship with AdvAE: their record, their size, and the floor below which training is broken."""

import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from benchmark.classifiers.names import CLASSIFIERS
from benchmark.purified import Purified
from benchmark.randomness import Draws
from benchmark.setting import Setting
from benchmark.shelf import ATTACKS, DATASETS, DEFENSES
from benchmark.target import Target
from benchmark.threat import Threat
from benchmark.weights import find_weights, sha256_of
from defenses.advae.recipe import AdvAERecipe

SAMPLES = 250


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
        DEFENSES.get("advae"), label="advae[digits]", classifier="digits-cnn", dataset="digits"
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


def accuracy(victim: Purified, x: Tensor) -> float:
    """Percent."""
    _, y, _ = images()
    with torch.no_grad():
        return 100 * float((victim(x).argmax(1) == y).float().mean())


def defended() -> Purified:
    defense = DEFENSES.get("advae")()
    defense.prepare(setting())
    return Purified([defense], setting().defended())


def test_the_record_tells_how_the_shipped_weights_were_made():
    record = json.loads(shipped().with_suffix(".json").read_text())
    assert record["weights_sha256"] == sha256_of(shipped())
    assert record["setting"]["classifier_sha256"] == setting().defended().sha256
    assert record["seed"] == 0
    assert record["command"].startswith("bench train --defense advae")
    assert record["arguments"] == AdvAERecipe().__dict__ | {"companions": []}
    assert shipped().stat().st_size < 2_000_000


def test_the_validation_loss_on_the_way_to_the_shipped_weights_fell():
    record = json.loads(shipped().with_suffix(".json").read_text())
    losses = [loss for _, loss in record["losses"]["validation"]]
    assert len(losses) > 10
    assert losses[-1] < 0.5 * losses[0]


def test_the_shipped_weights_are_past_the_floor():
    x, _, _ = images()
    assert accuracy(undefended(), oblivious()) < 20
    assert accuracy(defended(), x) > accuracy(undefended(), x) - 5
    assert accuracy(defended(), oblivious()) > accuracy(undefended(), oblivious()) + 20


def test_the_auxiliary_loss_grows_with_what_the_purifier_changes():
    """It is larger on images whose purified version is further away, over evaluation images and noise alike."""
    x, _, draws = images()
    shown = torch.cat((x, draws.at("noise").uniform(tuple(x.shape[1:]))))
    both = Draws.of(0, torch.arange(len(shown)), "test")
    defense = defended().defenses[0]
    with torch.no_grad():
        loss = defense.auxiliary_loss(shown, draws=both)
        change = (defense(shown, draws=both) - shown).square().flatten(1).mean(1)
    assert float(loss.min()) > 0
    assert float(torch.corrcoef(torch.stack((loss, change)))[0, 1]) > 0.5
