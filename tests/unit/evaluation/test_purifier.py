"""A purifier made ready: a label tells configurations apart, and what it does not need is not asked for."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from benchmark.engine.threat import Norm, Threat
from benchmark.engine.victims.classifier import Classifier
from benchmark.engine.victims.defense import Defense, Derivative
from benchmark.engine.victims.setting import Setting
from benchmark.errors import BenchError
from benchmark.evaluation.prepare.purifier import prepare_stage
from benchmark.evaluation.prepare.resolve import FoundStage
from benchmark.expression import StageSpec
from benchmark.identity.content_names import without_content
from benchmark.records.provenance import KEY
from tests.helpers.toy_plugins import Same


class Sized(Same):
    """In two sizes, the smaller one published under its name."""

    name = "sized"

    def __init__(self, *, preset: str = "auto", source: str = "any", levels: int = 8) -> None:
        self.preset = preset
        self.source = source
        self.levels = levels

    def variant(self, shape: tuple[int, int, int]) -> str:
        return "" if self.preset == "paper" else "digits"


class Stranded(Defense):
    """Trained by a recipe that cannot be imported."""

    name = "stranded"
    stochastic = False
    gradient = Derivative.EXACT
    needs_weights = True
    recipe = "tests.nowhere:Recipe"

    def purify(self, x, *, draws):
        return x


@pytest.fixture
def setting():
    return Setting(
        dataset="digits",
        shape=(1, 8, 8),
        classes=10,
        threat=Threat(Norm.LINF, 0.1),
        device=torch.device("cpu"),
        classifier=Classifier(nn.Flatten(), name="net", sha256="aa", classes=10),
    )


def found_stage(defense, weights=None):
    return FoundStage(typed=StageSpec(defense.name), defense=defense, weights=weights)


@pytest.mark.parametrize(
    ("arguments", "label"),
    [
        ({}, "sized[digits]"),
        ({"preset": "digits"}, "sized[digits]"),
        ({"preset": "paper"}, "sized(preset=paper)"),
        ({"preset": ""}, "sized[digits](preset=)"),
        ({"source": "digits"}, "sized[digits](source=digits)"),
        ({"preset": "digits", "source": "digits"}, "sized[digits](source=digits)"),
        ({"levels": 4, "source": "own"}, "sized[digits](source=own, levels=4)"),
        ({"source": ""}, "sized[digits](source=)"),
    ],
)
def test_a_label_names_a_preset_once_and_every_other_argument(setting, arguments, label):
    found = prepare_stage(found_stage(Sized(**arguments)), setting).plugin.label
    assert without_content(found) == label


def weights(folder, *, stated: bool):
    path = folder / "stranded.safetensors"
    said = {KEY: json.dumps({"defense": "stranded", "dataset": "digits"})} if stated else {}
    save_file({"w": torch.zeros(1)}, path, metadata=said)
    return path


def test_weights_that_state_nothing_are_used_without_their_recipe(setting, tmp_path):
    explicit = weights(tmp_path, stated=False)
    staged = prepare_stage(found_stage(Stranded(), explicit), setting)
    assert staged.provenance.stated_by == "nothing"


def test_weights_that_state_their_training_are_held_against_a_recipe_that_is_there(
    setting, tmp_path
):
    explicit = weights(tmp_path, stated=True)
    with pytest.raises(BenchError, match="nowhere"):
        prepare_stage(found_stage(Stranded(), explicit), setting)
