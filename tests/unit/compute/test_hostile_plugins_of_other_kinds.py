"""Datasets, classifiers, attacks and recipes that crash or exit: one line that names them, and status 2."""

from __future__ import annotations

import pytest

from benchmark.cli import main
from tests.helpers.malicious_plugins import one_line

CODE = """
import sys
from pathlib import Path

from torch import nn

from benchmark.engine.attacking.attack import Attack
from benchmark.classifiers.base import ClassifierSource
from benchmark.datasets.digits import Digits
from benchmark.engine.victims.defense import Defense, Derivative
from benchmark.recipe import Recipe


def fail():
    {failure}


class Data(Digits):
    def __init__(self, *, folder):
        fail()


class Made(ClassifierSource):
    name, dataset, classes = "made", "digits", 10

    def __init__(self):
        fail()

    def network(self):
        return nn.Flatten()

    def weights(self, folder):
        return Path("nowhere")


class Loaded(ClassifierSource):
    name, dataset, classes = "loaded", "digits", 10

    def network(self):
        fail()

    def weights(self, folder):
        return Path(__file__)

    def recipe(self, *, is_adversarial):
        fail()


class Shove(Attack):
    name = "shove"

    def __init__(self):
        fail()

    def perturb(self, target, x, y, *, threat, draws):
        return x


class Slow(Recipe):
    def __init__(self, *, steps: int = 2, batch_size: int = 4):
        self.steps, self.batch_size = steps, batch_size

    def build(self, setting, attacks):
        self.net = nn.Linear(1, 1)

    def modules(self):
        return {{"net": self.net}}

    def optimizers(self):
        return {{}}

    def step(self, x, y, *, step, draws):
        fail()

    def product(self):
        return {{}}


class Trained(Defense):
    name, stochastic, gradient = "trained", False, Derivative.EXACT
    recipe = "others:Slow"

    def purify(self, x, *, draws):
        return x
"""
PROTOCOL = """
name: theirs
version: 1
summary: an attack of somebody else's
attacks:
  - {id: clean, column: clean, knowledge: oblivious, attack: clean}
  - {id: shove, column: adaptive, knowledge: white-box, attack: "others:Shove"}
"""


@pytest.mark.parametrize(
    ("failure", "said"),
    [("raise KeyError('no luck')", "no luck"), ("sys.exit(0)", "sys.exit(0)")],
)
@pytest.mark.parametrize(
    ("command", "named"),
    [
        ("run --defense none --dataset others:Data", "others:Data"),
        ("run --defense none --model others:Made --dataset digits", "others:Made"),
        ("run --defense none --model others:Loaded --dataset digits", "others:Loaded"),
        ("run --defense none --protocol theirs.yaml --samples 2 --workers 1", "others:Shove"),
        ("train --defense others:Trained --out w.safetensors", "trained"),
        ("train --classifier others:Made --out w.safetensors", "others:Made"),
        ("train --classifier others:Loaded --out w.safetensors", "others:Loaded"),
    ],
)
def test_what_fails_is_one_line_that_names_it(
    tmp_path, monkeypatch, capfd, command, named, failure, said
):
    (tmp_path / "others.py").write_text(CODE.format(failure=failure))
    (tmp_path / "theirs.yaml").write_text(PROTOCOL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(__import__("sys").modules, "others", raising=False)
    assert main(command.split()) == 2
    line = one_line(capfd.readouterr().err)
    assert named in line
    assert said in line
    assert not (tmp_path / "w.safetensors").exists()
