"""The weights that ship with AID-Purifier: their record, their size, the floor, and what D has learnt."""

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
from defenses.aid.aid import AID

SAMPLES = 200


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


def shipped() -> Path:
    found = find_weights(AID, label="aid[digits]", classifier="digits-cnn", dataset="digits")
    assert found is not None
    return found


@cache
def defense() -> AID:
    made = DEFENSES.get("aid")()
    made.prepare(replace(setting(), weights=shipped()))
    return made


@cache
def images() -> tuple[Tensor, Tensor, Draws]:
    digits = DATASETS.get("digits")(folder=Path())
    indices = digits.order()[:SAMPLES]
    return (
        digits.images("test", indices),
        digits.labels("test")[indices],
        Draws.of(0, indices, "test"),
    )


@cache
def oblivious() -> Tensor:
    """Images of the highest margin that PGD finds on the bare classifier."""
    x, y, draws = images()
    attack = ATTACKS.get("pgd")(steps=40, loss="margin", keep="max_margin")
    target = Target(Purified([], setting().defended()), classes=10)
    return attack(target, x, y, threat=setting().threat, draws=draws.at("attack"))[:, 0]


def accuracy(x: Tensor) -> float:
    """Percent, of the bare classifier."""
    _, y, _ = images()
    return 100 * float((setting().defended()(x).argmax(1) == y).float().mean())


def purified(x: Tensor) -> Tensor:
    with torch.no_grad():
        return defense()(x, draws=images()[2])


def test_the_record_tells_how_the_shipped_weights_were_made():
    record = json.loads(shipped().with_suffix(".json").read_text())
    assert record["weights_sha256"] == sha256_of(shipped())
    assert record["setting"]["classifier_sha256"] == setting().defended().sha256
    assert record["seed"] == 0
    assert record["command"].startswith("bench train --defense aid --dataset digits")
    assert shipped().stat().st_size < 2_000_000


def test_the_shipped_weights_are_past_the_floor():
    x, _, _ = images()
    assert accuracy(oblivious()) < 20
    assert accuracy(purified(x)) > accuracy(x) - 5
    assert accuracy(purified(oblivious())) > accuracy(oblivious()) + 20


def test_the_auxiliary_loss_grows_with_how_far_an_image_is_from_clean_and_falls_by_purification():
    x, _, draws = images()
    shares = torch.linspace(0, 1, 5)
    losses = [
        float(defense().auxiliary_loss(x + share * (oblivious() - x), draws=draws).mean())
        for share in shares
    ]
    assert losses == sorted(losses)
    assert losses[-1] > 3 * losses[0]
    after = float(defense().auxiliary_loss(purified(oblivious()), draws=draws).mean())
    assert after < losses[-1] / 2
