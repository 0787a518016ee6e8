"""The contract's checks: every registered defense keeps it."""

import numpy as np
import pytest
import torch
from torch import nn

from benchmark.checks import CHECKS, CheckOutcome, run_checks
from benchmark.classifier import Classifier
from benchmark.defense import Defense
from benchmark.errors import BenchError
from benchmark.setting import Setting
from benchmark.shelf import DEFENSES
from benchmark.threat import Threat

NAMES = [check.__name__ for check in CHECKS]
SHAPE = (1, 8, 8)


def classifier() -> Classifier:
    generator = torch.Generator().manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Softplus(), nn.Flatten(), nn.Linear(144, 10))
    for parameter in network.parameters():
        parameter.data.normal_(std=0.3, generator=generator)
    return Classifier(network, name="random", classes=10, sha256="0")


def setting() -> Setting:
    return Setting(
        dataset="made-up",
        shape=SHAPE,
        classes=10,
        threat=Threat.parse("linf:0.15"),
        device=torch.device("cpu"),
        classifier=classifier(),
    )


def images(n: int = 6) -> torch.Tensor:
    return torch.rand(n, *SHAPE, generator=torch.Generator().manual_seed(1)).mul(17).floor() / 16


def outcomes(defense: Defense) -> dict[str, CheckOutcome]:
    defense.prepare(setting())
    return {found.name: found for found in run_checks(defense, setting(), images())}


@pytest.mark.parametrize("name", sorted(set(DEFENSES.names()) - {"atop"}))
def test_a_registered_defense_keeps_its_contract(name):
    found = outcomes(DEFENSES.get(name)())
    assert [f"{each.name}: {each.detail}" for each in found.values() if not each.passed] == []
    assert list(found) == NAMES


def test_every_outcome_says_in_one_line_what_was_measured():
    for found in outcomes(DEFENSES.get("gaussian")()).values():
        assert found.detail
        assert "\n" not in found.detail


def test_one_image_is_too_few_to_compare():
    with pytest.raises(BenchError, match="at least 2"):
        run_checks(DEFENSES.get("none")(), setting(), images(1))


def test_checks_leave_the_global_generators_where_they_were():
    stage, shown = setting(), images()
    torch.manual_seed(7)
    np.random.seed(7)
    expected = torch.rand(1), np.random.random()
    torch.manual_seed(7)
    np.random.seed(7)
    run_checks(DEFENSES.get("gaussian")(), stage, shown)
    assert (torch.rand(1), np.random.random()) == expected
