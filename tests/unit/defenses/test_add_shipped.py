"""What the networks that ship with ADD-Defense and ADD-Defense-S have learnt."""

import pytest
import torch

from benchmark.engine.attacking.target import Target
from benchmark.engine.threat import Threat
from benchmark.plugins import ATTACKS
from tests.helpers.shipped_weights import accuracy, images, oblivious, victim


@pytest.mark.slow
def test_what_was_trained_on_moved_pixels_holds_against_them_better_than_what_was_not():
    moved = oblivious("stadv", "linf:1")
    bare, pixel, spatial = (accuracy(victim(name), moved) for name in ("none", "add", "add-s"))
    assert bare < 10
    assert spatial > pixel
    assert spatial > bare + 20


@pytest.mark.parametrize("auxiliary", ["reconstruction", "domain"])
def test_the_shipped_networks_see_that_an_image_was_attacked(auxiliary):
    """The mean auxiliary loss grows with the attack's budget."""
    few = torch.arange(100)
    x, y, draws = images()
    x, y, draws = x[few], y[few], draws.take(few)
    (defense,) = victim("add", auxiliary=auxiliary).defenses
    pgd, target = ATTACKS.get("pgd")(steps=10), Target(victim("none"), classes=10)
    shown = [x]
    for eps in (0.15, 0.3):
        shown.append(pgd(target, x, y, threat=Threat.parse(f"linf:{eps}"), draws=draws)[:, 0])
    with torch.no_grad():
        losses = [float(defense.auxiliary_loss(each, draws=draws).mean()) for each in shown]
    assert losses == sorted(losses)
    assert losses[2] > 1.1 * losses[0]
