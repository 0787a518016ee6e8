"""What AutoAttack is told and what is taken from its answer, with a stand-in for the package."""

from types import SimpleNamespace

import pytest
import torch

import attacks.autoattack
from attacks.autoattack import AutoAttack
from benchmark.engine.threat import Norm, Threat
from tests.helpers.toy_plugins import image_draws, nonlinear_target


@pytest.fixture
def told(monkeypatch):
    """What the package is called with; it warns twice, and turns images around of which it fools the first."""
    found = {}

    def upstream(victim, **options):
        parts = {"apgd_targeted": SimpleNamespace(), "fab": SimpleNamespace()}

        def run(x, y, batch_size):
            found.update(x=x, batch_size=batch_size)
            victim(x[:2]).sum()
            attacks.autoattack.logging.getLogger("auto-attack").warning("a warning")
            y = y.clone()
            y[0] = (y[0] + 1) % 6
            return (x + 0.01).clamp(0, 1), y

        found.update(options=options, **parts)
        return SimpleNamespace(**parts, run_standard_evaluation=run)

    monkeypatch.setattr(attacks.autoattack.pyautoattack, "AutoAttack", upstream)
    monkeypatch.setattr(attacks.autoattack, "call_alone", lambda function, order: function(order))
    return found


@pytest.mark.parametrize("norm", list(Norm))
def test_it_is_told_the_threat_and_has_as_many_targets_as_there_are_other_classes(told, norm):
    target, x, y = nonlinear_target(batch_size=3)
    threat = Threat(norm, 0.25)
    x_adv = AutoAttack()(target, x[:5], y[:5], threat=threat, draws=image_draws(5))
    options = told["options"]
    assert (options["norm"], options["eps"]) == ({"linf": "Linf", "l2": "L2"}[norm], 0.25)
    assert (options["version"], told["batch_size"]) == ("standard", 3)
    assert told["apgd_targeted"].n_target_classes == told["fab"].n_target_classes == 5
    assert told["x"].dtype == torch.float32
    assert x_adv.dtype == x.dtype
    assert torch.allclose(x_adv[:, 0], (x[:5].float() + 0.01).clamp(0, 1).double())
    assert (target.trace, target.warnings, target.forwards) == ([0.8], ["a warning"], 2)


def test_with_more_classes_it_has_nine_targets(told):
    target, x, y = nonlinear_target()
    orders = []
    target.classes = 40
    attack = AutoAttack(version="plus")
    attacks.autoattack.call_alone = lambda function, order: orders.append(order) or function(order)
    attack(target, x[:2], y[:2], threat=Threat(Norm.LINF, 0.1), draws=image_draws(2))
    assert told["apgd_targeted"].n_target_classes == told["fab"].n_target_classes == 9
    assert (orders[0].classes, orders[0].batch_size, told["options"]["version"]) == (40, 2, "plus")
    assert attack._evaluate(orders[0]).fooled.tolist() == [True, False]
