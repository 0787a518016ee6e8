"""AdvAE's schedule: the rate halves on a plateau, training ends with the best weights, and a state goes on."""

from torch import nn

from defenses.advae.schedule import Plateau


def plateau(**changes) -> tuple[Plateau, nn.Linear]:
    network = nn.Linear(1, 1)
    given = {"rate": 1.0, "least": 0.3, "patience": 2, "endurance": 4} | changes
    return Plateau(network, **given), network


def test_the_rate_halves_after_patience_down_to_the_least():
    schedule, network = plateau(endurance=99)
    rates = []
    for loss in (5.0, 4.0, 4.0, 4.0, 3.0, 3.5, 2.99995, 2.0, 2.0, 2.0, 2.0, 2.0):
        schedule.judge(loss, network)
        rates.append(float(schedule.rate))
    assert rates == [1, 1, 1, 0.5, 0.5, 0.5, 0.3, 0.3, 0.3, 0.3, 0.3, 0.3]


def test_training_ends_after_endurance_with_the_weights_of_the_lowest_loss():
    schedule, network = plateau()
    over = []
    for number, loss in enumerate((3.0, 2.0, 2.5, 2.0, 2.1, 2.2)):
        nn.init.constant_(network.weight, float(number))
        schedule.judge(loss, network)
        over.append(schedule.is_over)
    assert over == [False] * 5 + [True]
    assert float(schedule.best.weight) == 1.0
    assert network.weight.item() == 5.0


def test_a_schedule_goes_on_from_its_state():
    one, network = plateau()
    other, _ = plateau()
    for loss in (3.0, 2.0, 2.5):
        one.judge(loss, network)
    other.load_state_dict(one.state_dict())
    for loss in (2.5, 2.5, 2.5):
        one.judge(loss, network)
        other.judge(loss, network)
        assert float(one.rate) == float(other.rate)
        assert one.is_over == other.is_over
    assert one.is_over
