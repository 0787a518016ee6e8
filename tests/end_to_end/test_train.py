"""`bench train` and `bench run --train` on somebody else's plugin with a recipe of its own."""

from __future__ import annotations

import hashlib
import json
import sys

import pytest

from benchmark.cli import main

pytestmark = pytest.mark.slow

PLUGIN = '''
import torch
from torch import nn

from benchmark.engine.victims.defense import Defense, Derivative
from benchmark.recipe import Recipe
from benchmark.files.weights import load_safetensors


class Shrink(Defense):
    """Multiplies the image by one trained number."""

    name = "shrink"
    stochastic = False
    gradient = Derivative.EXACT
    needs_weights = True
    recipe = "their_plugin:ShrinkRecipe"

    def prepare(self, setting):
        self._factor = load_safetensors(setting.weights, setting.device, setting.dtype)["factor"]

    def purify(self, x, *, draws):
        return (x * self._factor).clamp(0, 1)


class ShrinkRecipe(Recipe):
    """Brings the factor to a half."""

    def __init__(self, *, steps: int = 20, batch_size: int = 8) -> None:
        self.steps = steps
        self.batch_size = batch_size

    def build(self, setting, attacks):
        self.module = nn.Module()
        self.module.factor = nn.Parameter(torch.rand(1))
        self.optimizer = torch.optim.Adam(self.module.parameters(), lr=0.1)

    def modules(self):
        return {"module": self.module}

    def optimizers(self):
        return {"adam": self.optimizer}

    def step(self, x, y, *, step, draws):
        loss = (x * self.module.factor - x / 2).square().mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return {"loss": loss.item()}

    def product(self):
        return dict(self.module.state_dict())
'''


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    (tmp_path / "their_plugin.py").write_text(PLUGIN)
    monkeypatch.delitem(sys.modules, "their_plugin", raising=False)  # weights may lie beside it
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("BENCH_WEIGHTS", str(tmp_path / "weights"))
    return "their_plugin:Shrink"


def test_without_weights_it_says_how_and_with_train_it_does_it(plugin, tmp_path, capfd):
    words = ["run", "--defense", plugin, "--samples", "2", "--workers", "1", "--device", "cpu"]
    assert main(words) == 2
    assert f"bench train --defense {plugin}" in capfd.readouterr().err
    assert main([*words, "--train"]) == 0
    assert "shrink" in capfd.readouterr().out
    (weights,) = (tmp_path / "weights").glob("*.safetensors")
    record = json.loads(weights.with_suffix(".json").read_text())
    assert record["seed"] == 0
    (entry,) = (tmp_path / "results").rglob("shrink*.json")
    stage = json.loads(entry.read_text())["defense"]["stages"][0]
    assert stage["weights_sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()


def test_recipe_arguments_are_taken_and_checked(plugin, tmp_path, capfd):
    words = ["train", "--defense", plugin, "--device", "cpu", "--out", "w.safetensors"]
    assert main([*words, "--recipe-arg", "speed=3"]) == 2
    assert "takes no argument 'speed'" in capfd.readouterr().err
    assert main([*words, "--recipe-arg", "steps=3"]) == 0
    assert "--weights w.safetensors" in capfd.readouterr().err
    assert json.loads((tmp_path / "w.json").read_text())["steps"] == 3
    assert main(["run", "--defense", plugin, "--weights", "w.safetensors", "--samples", "1"]) == 0


def test_the_hint_names_weights_only_where_they_are_not_found_without(plugin, tmp_path, capfd):
    words = ["train", "--defense", plugin, "--recipe-arg", "steps=3", "--device", "cpu"]
    assert main([*words, "--threat", "linf:0.1"]) == 0
    shown = capfd.readouterr().err
    assert f"Use it: bench run --defense {plugin} --threat linf:0.1\n" in shown
    assert main(["run", "--defense", plugin, "--threat", "linf:0.1", "--samples", "1"]) == 0


def test_an_argument_that_names_the_weights_is_refused_as_one_of_the_recipe_alone(tmp_path, capfd):
    words = [
        "train",
        "--defense",
        "hgd",
        "--device",
        "cpu",
        "--out",
        str(tmp_path / "w.safetensors"),
    ]
    assert main([*words, "--recipe-arg", "loss=fgd"]) == 2
    assert "give it as --defense-arg loss=fgd" in capfd.readouterr().err
    assert not list(tmp_path.glob("*.safetensors"))


def test_a_classifier_is_trained_to_a_file_and_used_from_there(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    assert main(["train", "--classifier", "digits-mlp"]) == 2
    assert "--out" in capfd.readouterr().err
    assert main(["train", "--classifier", "digits-mlp", "--out", "mlp.safetensors"]) == 0
    model = "file:mlp.safetensors@digits-mlp"
    assert main(["run", "--defense", "none", "--model", model, "--samples", "2"]) == 0
