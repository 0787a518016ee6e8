"""Held-out training images: no step sees them, every epoch ends with them, and resumed runs judge the same."""

import json
from pathlib import Path

import pytest
import torch

from benchmark.engine.dataset import Dataset
from benchmark.engine.threat import Threat
from benchmark.engine.victims.setting import Setting
from benchmark.errors import BenchError
from benchmark.recipe import Recipe
from benchmark.training.loop import train
from benchmark.training.record import TrainingOptions

SETTING = Setting(
    dataset="numbers",
    shape=(1, 1, 1),
    classes=2,
    threat=Threat.parse("linf:0.1"),
    device=torch.device("cpu"),
)


class Numbers(Dataset):
    """Fifty images of one pixel, which says which image it is."""

    name = "numbers"
    shape = (1, 1, 1)
    classes = 2
    threat = "linf:0.1"
    model = ""

    def labels(self, split):
        return torch.arange(50) % 2

    def images(self, split, indices):
        return indices.float().view(-1, 1, 1, 1) / 50


class Watching(Recipe):
    """Remembers what it is shown; its one number counts steps, and the epochs' losses are added to another."""

    def __init__(self, *, validation_share=0.2, epochs=3, last_epoch=99):
        self.validation_share = validation_share
        self.epochs = epochs
        self.last_epoch = last_epoch
        self.steps = epochs * 10
        self.batch_size = 4

    def select(self, labels):
        return torch.arange(5, len(labels))

    def build(self, setting, attacks):
        self.net = torch.nn.Module()
        for name in ("steps", "judged", "epochs"):
            self.net.register_buffer(name, torch.zeros(1, dtype=torch.float64))
        self.trained, self.validated, self.order = [], [], []

    def modules(self):
        return {"net": self.net}

    def optimizers(self):
        return {}

    def step(self, x, y, *, step, draws):
        self.trained += _numbers(x)
        self.order.append("step")
        self.net.steps += 1
        return {"loss": 1.0}

    def validate(self, x, y, *, draws):
        self.validated += _numbers(x)
        assert draws.images.tolist() == _numbers(x)
        assert y.tolist() == [i % 2 for i in _numbers(x)]
        return float(x.mean() + self.net.steps)

    def end_epoch(self, loss):
        self.order.append("epoch")
        self.net.judged += loss
        self.net.epochs += 1

    def is_done(self):
        return bool(self.net.epochs >= self.last_epoch)

    def product(self):
        return dict(self.net.state_dict())


def _numbers(x):
    return (50 * x.flatten()).round().int().tolist()


def run(recipe, tmp_path, *, name="w", **more):
    out = tmp_path / f"{name}.safetensors"
    train(recipe, SETTING, Numbers(folder=Path()), out=out, **more)
    return out


def test_held_out_images_are_seen_after_every_epoch_and_by_no_step(tmp_path):
    recipe = Watching()
    run(recipe, tmp_path)
    held = set(recipe.validated)
    assert len(held) == 9  # a fifth of 45
    assert not held & set(recipe.trained)
    assert min(recipe.trained + recipe.validated) >= 5
    assert recipe.order == (["step"] * 9 + ["epoch"]) * 3 + ["step"] * 3  # 36 images, 4 a step
    assert sorted(recipe.validated) == sorted(3 * list(held))


def test_the_mean_over_held_out_images_counts_each_image_once(tmp_path):
    recipe = Watching(epochs=1)
    run(recipe, tmp_path)
    mean = sum(recipe.validated) / len(recipe.validated) / 50
    assert float(recipe.net.judged) == pytest.approx(mean + 9)


def test_another_seed_holds_out_other_images(tmp_path):
    seen = []
    for seed in (0, 0, 1):
        recipe = Watching()
        run(recipe, tmp_path, name=f"w{len(seen)}", options=TrainingOptions(seed=seed))
        seen.append(sorted(set(recipe.validated)))
    assert seen[0] == seen[1] != seen[2]


def test_fewer_training_images_are_the_first_of_the_balanced_order_among_those_wanted(tmp_path):
    recipe = Watching(validation_share=0.25)
    out = run(recipe, tmp_path, options=TrainingOptions(images=12))
    order = Numbers(folder=Path()).order("train").tolist()
    assert set(recipe.trained + recipe.validated) == set([i for i in order if i >= 5][:12])
    assert len(set(recipe.validated)) == 3
    assert json.loads(out.with_suffix(".json").read_text())["images"] == 12


def test_a_run_on_fewer_images_is_another_run_and_one_on_none_is_refused(tmp_path):
    def stop(done, _n, _losses):
        if done == 5:
            raise KeyboardInterrupt

    few = TrainingOptions(images=12, checkpoint_seconds=0)
    with pytest.raises(KeyboardInterrupt):
        run(Watching(), tmp_path, options=few, progress=stop)
    with pytest.raises(BenchError, match="belongs to another run"):
        run(Watching(), tmp_path)
    with pytest.raises(BenchError, match="at least one image; got 0"):
        TrainingOptions(images=0)


@pytest.mark.parametrize("stop_at", [8, 9, 10, 18, 25])
def test_a_run_cut_anywhere_judges_as_an_unbroken_one(tmp_path, stop_at):
    def stop(done, _n, _losses):
        if done == stop_at:
            raise KeyboardInterrupt

    whole = run(Watching(), tmp_path, name="whole")
    eager = TrainingOptions(checkpoint_seconds=0)
    with pytest.raises(KeyboardInterrupt):
        run(Watching(), tmp_path, name="cut", options=eager, progress=stop)
    cut = run(Watching(), tmp_path, name="cut", options=eager)
    assert whole.read_bytes() == cut.read_bytes()


def test_an_epoch_may_be_the_last(tmp_path):
    recipe = Watching(last_epoch=2)
    run(recipe, tmp_path)
    assert recipe.order == (["step"] * 9 + ["epoch"]) * 2


def test_a_recipe_that_holds_out_nothing_is_never_asked(tmp_path):
    recipe = Watching(validation_share=0.0)
    run(recipe, tmp_path)
    assert recipe.validated == []
    assert "epoch" not in recipe.order
    assert len(set(recipe.trained)) == 45


@pytest.mark.parametrize("share", [-0.1, 1.0, float("nan")])
def test_a_share_that_there_is_not_is_one_line(tmp_path, share):
    with pytest.raises(BenchError, match="validation_share"):
        run(Watching(validation_share=share), tmp_path)


def test_a_recipe_that_holds_out_and_does_not_validate_is_told(tmp_path):
    class Forgetful(Watching):
        validate = Recipe.validate

    with pytest.raises(BenchError, match="Forgetful holds images out"):
        run(Forgetful(), tmp_path)
