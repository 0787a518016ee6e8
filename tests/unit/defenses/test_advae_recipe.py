"""AdvAE's training: the losses of Eqs. 7 and 8 by hand, what is attacked, and the same bits again."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from benchmark.engine.dataset import Dataset
from benchmark.engine.victims.classifier import Classifier
from benchmark.engine.victims.setting import Setting
from benchmark.errors import BenchError
from benchmark.training.loop import train
from benchmark.training.record import TrainingOptions
from defenses.advae.presets import PRESETS
from defenses.advae.recipe import AdvAERecipe
from tests.helpers.small_atop import draws, images, setting

pytestmark = pytest.mark.slow

TINY = replace(
    PRESETS["digits"],
    widths=(4, 4),
    batch_size=8,
    warmup=0,
    attack="pgd(steps=2, step_size=0.5, keep='last')",
)


class Stripes(Dataset):
    """Images whose left or right half is light: two classes, 80 images."""

    name = "made-up"
    shape = (1, 8, 8)
    classes = 10
    threat = "linf:0.15"
    model = ""

    def labels(self, split):
        return torch.arange(80) % 2

    def images(self, split, indices):
        x = 0.2 + 0.1 * torch.rand(80, 1, 8, 8, generator=torch.Generator().manual_seed(3))
        x[::2, :, :, :4] += 0.6
        x[1::2, :, :, 4:] += 0.6
        return x[indices]


@pytest.fixture
def tiny(monkeypatch):
    """The digits preset made small, so that training takes a second."""
    monkeypatch.setattr("defenses.advae.presets.PRESETS", {"digits": TINY})
    return Stripes(folder=Path())


class Spy:
    """An attack that adds .1, and remembers on what, with which labels and budget it was called."""

    def __init__(self):
        self.calls = []

    def __call__(self, module, x, y, draws, *, threat=None):
        with torch.no_grad():
            self.calls.append((module(x), y.clone(), threat, module.purifier.training))
        return (x + 0.1).clamp(0, 1)


def two_classifiers() -> Setting:
    one = setting()
    with torch.random.fork_rng():
        torch.manual_seed(9)
        network = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    other = Classifier(network, name="other", classes=10, sha256="1")
    return replace(one, companions={"other": other})


def built(stage: Setting, spy=None, **arguments) -> AdvAERecipe:
    recipe = AdvAERecipe(**arguments)
    recipe.length(stage, 72)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        recipe.build(stage, {"pgd": spy or Spy()})
    return recipe


def batch(tiny):
    return tiny.images("train", torch.arange(8)), torch.arange(8) % 2


def test_a_step_minimises_equation_7(tiny):
    stage = setting()
    recipe = built(stage, reconstruction=0.5)
    x, y = batch(tiny)
    purifier = recipe.modules()["purifier"].train()
    state = {name: value.clone() for name, value in purifier.state_dict().items()}
    with torch.no_grad():
        ce = cross_entropy(stage.defended()(purifier((x + 0.1).clamp(0, 1)).sigmoid()), y)
        d = binary_cross_entropy_with_logits(purifier(x), x)
    purifier.load_state_dict(state)
    losses = recipe.step(x, y, step=0, draws=draws(8))
    assert losses == {
        "ce": pytest.approx(float(ce), rel=1e-5),
        "reconstruction": pytest.approx(float(d), rel=1e-5),
    }
    total = recipe.validate(x, y, draws=draws(8))
    purifier.eval()
    with torch.no_grad():
        ce = cross_entropy(stage.defended()(purifier((x + 0.1).clamp(0, 1)).sigmoid()), y)
        d = binary_cross_entropy_with_logits(purifier(x), x)
    assert total == pytest.approx(float(ce + 0.5 * d), rel=1e-5)


def test_without_a_lambda_there_is_no_reconstruction(tiny):
    assert set(built(setting()).step(*batch(tiny), step=0, draws=draws(8))) == {"ce"}


def test_equation_8_sums_over_classifiers_each_attacked_by_itself(tiny):
    stage, spy = two_classifiers(), Spy()
    recipe = built(stage, spy)
    x, y = batch(tiny)
    purifier = recipe.modules()["purifier"].eval()
    with torch.no_grad():
        clean = purifier(x).sigmoid()
        wanted = [stage.defended()(clean), stage.companions["other"](clean)]
        shown = purifier((x + 0.1).clamp(0, 1)).sigmoid()
        total = sum(
            float(cross_entropy(f(shown), y)) for f in (stage.defended(), stage.companions["other"])
        )
    assert recipe.validate(x, y, draws=draws(8)) == pytest.approx(total, rel=1e-5)
    assert [torch.equal(call[0], want) for call, want in zip(spy.calls, wanted, strict=True)] == [
        True,
        True,
    ]


@pytest.mark.parametrize("labels", ["true", "predicted"])
def test_the_whole_pipeline_is_attacked_in_eval_mode_with_the_labels_that_were_named(tiny, labels):
    spy = Spy()
    recipe = built(setting(), spy, labels=labels)
    x, y = batch(tiny)
    recipe.step(x, y, step=0, draws=draws(8))
    ((logits, given, threat, was_training),) = spy.calls
    assert not was_training
    assert threat == setting().threat
    assert not torch.equal(logits.argmax(1), y)  # else the two would be the same
    assert torch.equal(given, y if labels == "true" else logits.argmax(1))


def test_the_budget_warms_up_over_epochs_and_never_in_validation(tiny):
    spy = Spy()
    recipe = built(setting(), spy, warmup=2)  # of 9 steps each
    x, y = batch(tiny)
    for step in (0, 8, 17, 30):
        recipe.step(x, y, step=step, draws=draws(8))
    recipe.validate(x, y, draws=draws(8))
    eps = [call[2].eps for call in spy.calls]
    assert eps == pytest.approx([0.15 / 18, 0.075, 0.15, 0.15, 0.15])


def test_a_step_moves_the_purifier_and_leaves_the_classifiers(tiny):
    stage = two_classifiers()
    recipe = built(stage)
    before = [p.clone() for p in recipe.modules()["purifier"].parameters()]
    frozen = [f.network[1].weight.clone() for f in (stage.defended(), stage.companions["other"])]
    recipe.step(*batch(tiny), step=0, draws=draws(8))
    after = list(recipe.modules()["purifier"].parameters())
    assert not any(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert torch.equal(stage.defended().network[1].weight, frozen[0])
    assert torch.equal(stage.companions["other"].network[1].weight, frozen[1])


def run(tiny, out: Path, *, stop_at: int | None = None, **arguments) -> list[dict[str, float]]:
    seen = []

    def look(done: int, _n: int, losses: dict[str, float]) -> None:
        seen.append(losses)
        if done == stop_at:
            raise KeyboardInterrupt

    options = TrainingOptions(checkpoint_seconds=0)
    train(AdvAERecipe(**arguments), setting(), tiny, out=out, options=options, progress=look)
    return seen


def test_training_lowers_the_loss_and_gives_the_same_bits_again(tiny, tmp_path):
    once, again = tmp_path / "once.safetensors", tmp_path / "again.safetensors"
    curves = [run(tiny, out, epochs=8, learning_rate=1e-2) for out in (once, again)]
    ce = [losses["ce"] for losses in curves[0]]
    assert sum(ce[-9:]) < 0.7 * sum(ce[:9])
    held = [losses["validation"] for losses in curves[0] if "validation" in losses]
    assert len(held) == 8
    assert held[-1] < held[0]
    assert curves[0] == curves[1]
    assert once.read_bytes() == again.read_bytes()


@pytest.mark.parametrize("stop_at", [5, 9, 20])
def test_training_that_was_cut_in_two_stops_at_the_same_step_with_the_same_weights(
    tiny, tmp_path, stop_at
):
    impatient = {"epochs": 40, "learning_rate": 0.3, "patience": 1, "endurance": 2}
    whole, cut = tmp_path / "whole.safetensors", tmp_path / "cut.safetensors"
    steps = len(run(tiny, whole, **impatient))
    assert stop_at < steps < 360
    with pytest.raises(KeyboardInterrupt):
        run(tiny, cut, stop_at=stop_at, **impatient)
    run(tiny, cut, **impatient)
    assert whole.read_bytes() == cut.read_bytes()
    records = [json.loads(out.with_suffix(".json").read_text()) for out in (whole, cut)]
    assert records[0]["steps_done"] == records[1]["steps_done"] == steps


def test_the_weights_of_the_best_epoch_are_kept_and_the_last_where_nothing_was_held_out(tiny):
    recipe = built(setting())
    x, y = batch(tiny)
    recipe.step(x, y, step=0, draws=draws(8))
    recipe.end_epoch(1.0)
    best = {name: value.clone() for name, value in recipe.product().items()}
    recipe.step(x, y, step=1, draws=draws(8))
    recipe.end_epoch(2.0)
    assert all(torch.equal(best[name], value) for name, value in recipe.product().items())
    unjudged = built(setting(), validation_share=0.0)
    unjudged.step(x, y, step=0, draws=draws(8))
    now = unjudged.modules()["purifier"].state_dict()
    assert all(torch.equal(now[name], value) for name, value in unjudged.product().items())


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"labels": "false"}, "labels are true or predicted"),
        ({"learning_rate": 0.0}, "learning_rate is out of range"),
        ({"reconstruction": -1.0}, "reconstruction is out of range"),
        ({"endurance": 0}, "endurance is out of range"),
        ({"warmup": -1}, "warmup is out of range"),
        ({"residual": "x"}, "residual of advae"),
    ],
)
def test_a_recipe_refuses_what_it_does_not_know(tiny, wrong, message):
    with pytest.raises(BenchError, match=message) as caught:
        built(setting(), **wrong)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("shape", "attack", "weight"),
    [
        ((1, 28, 28), "pgd(steps=40, step_size=0.01, step_unit='pixel', keep='last')", 0.0),
        ((3, 32, 32), "pgd(steps=10, step_size=0.00784313725490196, ", 1.0),
    ],
)
def test_the_papers_presets_have_the_papers_settings(shape, attack, weight):
    recipe, stage = AdvAERecipe(), setting(shape)
    assert recipe.attacks_for(stage)[0].startswith(attack)
    length = recipe.length(stage, 54_000)
    assert (length.steps, length.batch_size) == (100 * 1687, 32)
    recipe.build(stage, {"pgd": Spy()})
    losses = recipe.step(
        images(2, shape[0], shape[1]), torch.tensor([0, 1]), step=0, draws=draws(2)
    )
    assert ("reconstruction" in losses) == bool(weight)
    assert all(math.isfinite(value) for value in losses.values())
