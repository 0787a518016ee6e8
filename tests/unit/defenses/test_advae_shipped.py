"""How the auto-encoder that ships with AdvAE was trained, and what its auxiliary loss says."""

import torch

from benchmark.engine.randomness import Draws
from defenses.advae.recipe import AdvAERecipe
from tests.helpers.shipped_weights import images, record, victim


def test_it_was_trained_with_the_default_arguments():
    assert record("advae")["arguments"] == AdvAERecipe().__dict__ | {"companions": []}


def test_the_validation_loss_on_the_way_to_the_shipped_weights_fell():
    losses = [loss for _, loss in record("advae")["losses"]["validation"]]
    assert len(losses) > 10
    assert losses[-1] < 0.5 * losses[0]


def test_the_auxiliary_loss_grows_with_what_the_purifier_changes():
    """It is larger on images whose purified version is further away, over evaluation images and noise alike."""
    few = torch.arange(250)
    x, _, draws = images()
    x, draws = x[few], draws.take(few)
    shown = torch.cat((x, draws.at("noise").uniform(tuple(x.shape[1:]))))
    both = Draws.of(0, torch.arange(len(shown)), "test")
    (defense,) = victim("advae").defenses
    with torch.no_grad():
        loss = defense.auxiliary_loss(shown, draws=both)
        change = (defense(shown, draws=both) - shown).square().flatten(1).mean(1)
    assert float(loss.min()) > 0
    assert float(torch.corrcoef(torch.stack((loss, change)))[0, 1]) > 0.5
