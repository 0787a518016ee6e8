"""The contract's checks: every registered defense keeps it, on the classifier and images that ship."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmark.classifiers.catalog import CLASSIFIERS
from benchmark.contract.checks import CHECKS, CheckOutcome, run_checks
from benchmark.engine.threat import Threat
from benchmark.engine.victims.defense import Defense
from benchmark.engine.victims.setting import Setting
from benchmark.errors import BenchError
from benchmark.files.weights import find_weights
from benchmark.plugins import DATASETS, DEFENSES

NAMES = [check.__name__ for check in CHECKS]


def setting() -> Setting:
    digits = DATASETS.get("digits")
    return Setting(
        dataset="digits",
        shape=digits.shape,
        classes=digits.classes,
        threat=Threat.parse(digits.threat),
        device=torch.device("cpu"),
        classifier=CLASSIFIERS.get("digits-cnn")().load(folder=Path()),
    )


def images(n: int = 6) -> torch.Tensor:
    digits = DATASETS.get("digits")(folder=Path())
    return digits.images("test", digits.order()[:n])


def prepared(defense: Defense, *, label: str = "") -> tuple[Defense, Setting]:
    """A defense with the weights that ship under a label, by default its own."""
    stage = setting()
    found = find_weights(
        type(defense),
        label=label or defense.label(stage.shape),
        classifier=stage.defended().name,
        dataset=stage.dataset,
    )
    stage = replace(stage, weights=found)
    defense.prepare(stage)
    return defense, stage


@cache
def outcomes(name: str) -> dict[str, CheckOutcome]:
    return {found.name: found for found in run_checks(*prepared(DEFENSES.get(name)()), images())}


@pytest.mark.parametrize("check", NAMES)
@pytest.mark.parametrize("name", DEFENSES.names())
def test_a_registered_defense_keeps_its_contract(name, check):
    assert outcomes(name)[check].passed, outcomes(name)[check].detail


@pytest.mark.parametrize("transform", ["rt1", "rt3"])
def test_atop_keeps_it_with_its_other_transforms(transform):
    defense = DEFENSES.get("atop")(transform=transform)
    found = run_checks(*prepared(defense, label="atop[digits]"), images())
    assert [f"{each.name}: {each.detail}" for each in found if not each.passed] == []


def test_every_outcome_says_in_one_line_what_was_measured():
    for found in outcomes("gaussian").values():
        assert found.detail
        assert "\n" not in found.detail


def test_one_image_is_too_few_to_compare():
    with pytest.raises(BenchError, match="at least 2"):
        run_checks(*prepared(DEFENSES.get("none")()), images(1))


def test_a_defense_is_checked_in_front_of_a_classifier():
    with pytest.raises(BenchError, match="--model"):
        run_checks(DEFENSES.get("none")(), replace(setting(), classifier=None), images())


def test_checks_leave_the_global_generators_where_they_were():
    defense, stage = prepared(DEFENSES.get("gaussian")())
    torch.manual_seed(7)
    np.random.seed(7)
    expected = torch.rand(1), np.random.random()
    torch.manual_seed(7)
    np.random.seed(7)
    run_checks(defense, stage, images())
    assert (torch.rand(1), np.random.random()) == expected
