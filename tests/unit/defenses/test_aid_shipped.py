"""What the discriminator that ships with AID-Purifier has learnt."""

import pytest
import torch

from tests.helpers.shipped_weights import images, oblivious, victim


@pytest.mark.slow
def test_the_auxiliary_loss_grows_with_how_far_an_image_is_from_clean_and_falls_by_purification():
    few = torch.arange(200)
    x, _, draws = images()
    x, x_adv, draws = x[few], oblivious()[few], draws.take(few)
    (defense,) = victim("aid").defenses

    def loss(shown):
        return float(defense.auxiliary_loss(shown, draws=draws).mean())

    losses = [loss(x + share * (x_adv - x)) for share in torch.linspace(0, 1, 5)]
    assert losses == sorted(losses)
    assert losses[-1] > 3 * losses[0]
    with torch.no_grad():
        purified = defense(x_adv, draws=draws)
    assert loss(purified) < losses[-1] / 2
