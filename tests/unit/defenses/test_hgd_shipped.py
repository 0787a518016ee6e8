"""What the denoiser that ships with HGD does, and does not."""

import pytest

from benchmark.contract.checks import run_checks
from benchmark.engine.attacking.target import Target
from benchmark.plugins import ATTACKS, DEFENSES
from tests.helpers.shipped_weights import (
    accuracy,
    images,
    oblivious,
    plain_setting,
    record,
    setting,
    victim,
)


def test_its_static_set_was_made_on_three_networks():
    assert sorted(record("hgd")["setting"]["companions"]) == ["digits-conv", "digits-mlp"]


@pytest.mark.slow
def test_it_falls_to_an_attack_through_it():
    """As Athalye and Carlini found in 2018."""
    x, y, draws = images()
    pgd = ATTACKS.get("pgd")(steps=20, step_size=0.2, loss="margin", keep="max_margin")
    defended = victim("hgd")
    target = Target(defended, classes=10)
    threat = plain_setting().threat
    x_adv = pgd(target, x, y, threat=threat, draws=draws.at("attack"))[:, 0]
    assert accuracy(defended, x_adv) < accuracy(defended, oblivious()) - 20


def test_it_keeps_its_contract_with_the_other_auxiliary_loss():
    defense = DEFENSES.get("hgd")(auxiliary="features")
    defense.prepare(setting("hgd"))
    found = run_checks(defense, setting("hgd"), images()[0][:6])
    assert [f"{each.name}: {each.detail}" for each in found if not each.passed] == []
